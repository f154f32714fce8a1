"""The proxy does to a connection what it says, on a server that answers each line."""

from __future__ import annotations

import doctest
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults import measured
from tests.faults import proxy as module
from tests.faults.proxy import Proxy, Wire

SHORT_S = 0.3
LONG_S = 20.0


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.server.heard.append(line)  # type: ignore[attr-defined]
            self.wfile.write(line)


@pytest.fixture
def server() -> Iterator[socketserver.ThreadingTCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads, server.heard = True, []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(server: socketserver.ThreadingTCPServer) -> Iterator[Proxy]:
    proxy = Proxy(server.server_address[1])
    yield proxy
    proxy.close()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), LONG_S)


def test_an_open_wire_passes_bytes_both_ways(proxy: Proxy) -> None:
    with connected(proxy) as client:
        client.sendall(b"one\n")
        assert client.recv(10) == b"one\n"


def test_a_held_wire_accepts_and_answers_only_once_it_is_open(proxy: Proxy) -> None:
    proxy.set(Wire.HELD)
    with connected(proxy) as client:
        client.sendall(b"one\n")
        client.settimeout(SHORT_S)
        with pytest.raises(TimeoutError):
            client.recv(10)
        client.settimeout(LONG_S)
        proxy.set(Wire.OPEN)
        assert client.recv(10) == b"one\n"


def test_a_cut_wire_ends_what_is_connected_and_who_comes(proxy: Proxy) -> None:
    with connected(proxy) as client:
        client.sendall(b"one\n")
        client.recv(10)
        proxy.set(Wire.CUT)
        assert client.recv(10) == b""
    with connected(proxy) as late:
        assert late.recv(10) == b""


def test_a_reset_wire_ends_with_an_error_what_is_connected_and_who_comes(proxy: Proxy) -> None:
    with connected(proxy) as client:
        client.sendall(b"one\n")
        client.recv(10)
        proxy.set(Wire.RESET)
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    with pytest.raises(ConnectionResetError), connected(proxy) as late:
        late.recv(10)


def test_a_slow_wire_brings_each_byte_later_in_both_directions(proxy: Proxy) -> None:
    proxy.latency_s = SHORT_S
    assert answered_after_s(proxy, b"one\n") >= 2 * SHORT_S


def test_a_narrow_wire_carries_so_many_bytes_a_second(proxy: Proxy) -> None:
    proxy.bytes_per_s = 10_000
    assert answered_after_s(proxy, b"x" * 1_999 + b"\n") >= 2 * 0.2
    proxy.mend()
    assert (proxy.bytes_per_s, proxy.latency_s, proxy.wire) == (0, 0.0, Wire.OPEN)


def answered_after_s(proxy: Proxy, line: bytes) -> float:
    with connected(proxy) as client:
        began_s = time.monotonic()
        client.sendall(line)
        with client.makefile("rb") as replies:
            assert replies.readline() == line
        return time.monotonic() - began_s


def test_a_deaf_wire_does_what_is_asked_and_tells_nobody(proxy: Proxy, server: socketserver.ThreadingTCPServer) -> None:
    proxy.set(Wire.DEAF)
    with connected(proxy) as client:
        client.sendall(b"one\n")
        assert client.recv(10) == b""
    assert server.heard == [b"one\n"]  # type: ignore[attr-defined]
    assert proxy.passed == 1


@pytest.mark.parametrize("one", [module, measured])
def test_the_examples_of_its_documentation_hold(one: object) -> None:
    found = doctest.testmod(one)  # type: ignore[arg-type]
    assert (found.failed, found.attempted > 0) == (0, True)

"""A TCP proxy on loopback whose wires can be cut, held or made slow; between a client and its server.

A thread for each direction of a connection: few connections, and no event loop that a test could block.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from stoploss.embedded.ports import LOOPBACK

CHUNK = 65_536
POLL_S = 0.05
CONNECT_S = 5.0


class Wire(StrEnum):
    """What becomes of bytes.

    OPEN  they pass
    HELD  connections are accepted and nothing passes, in neither direction, until the wire is open again
    CUT   connections are closed, also new ones
    DEAF  requests pass, replies are swallowed and the connection is closed: it was done, and nobody was told
    """

    OPEN = "open"
    HELD = "held"
    CUT = "cut"
    DEAF = "deaf"


@dataclass(slots=True)
class Asked:
    """Kafka requests of one connection that wait for their reply: API key by correlation id."""

    by_id: dict[int, int] = field(default_factory=dict)
    rest: bytearray = field(default_factory=bytearray)

    def hear(self, data: bytes) -> None:
        self.rest += data
        for frame in frames(self.rest):
            self.by_id[int.from_bytes(frame[8:12], "big")] = int.from_bytes(frame[4:6], "big")


def frames(buffer: bytearray) -> Iterator[bytes]:
    """Takes whole frames of Kafka's protocol off the front: four bytes of size, then so many bytes.

    >>> rest = bytearray(b"\\0\\0\\0\\2ab\\0\\0")
    >>> list(frames(rest)), bytes(rest)
    ([b'\\x00\\x00\\x00\\x02ab'], b'\\x00\\x00')
    """
    while len(buffer) >= 4 and len(buffer) >= (end := 4 + int.from_bytes(buffer[:4], "big")):
        yield bytes(buffer[:end])
        del buffer[:end]


class Proxy:
    """Listens on a port of its own and passes everything on to `target`; close it at the end.

    slow    by Kafka API key, seconds for one reply each: so much later it is handed on, and all behind it; to be set
            before the client connects
    slow_until_s  monotonic time at which the last of them was handed on; 0: none yet
    passed  requests that reached the server while the wire was DEAF
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.wire = Wire.OPEN
        self.slow: dict[int, list[float]] = {}
        self.slow_until_s = 0.0
        self.passed = 0
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=f"proxy-{self.port}", daemon=True).start()

    def set(self, wire: Wire) -> None:
        self.wire = wire
        if wire is Wire.CUT:
            self._hang_up()

    def close(self) -> None:
        self.wire = Wire.CUT
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection, until either side ends it."""
        with contextlib.suppress(OSError), client:
            if self.wire is Wire.CUT:
                return
            with socket.create_connection((LOOPBACK, self.target), CONNECT_S) as server:
                server.settimeout(None)
                self._couple(client, server)

    def _couple(self, client: socket.socket, server: socket.socket) -> None:
        asked = Asked()
        with self._lock:
            self._sockets |= {client, server}
        back = threading.Thread(target=self._replies, args=[server, client, asked], daemon=True)
        back.start()
        try:
            for data in self._read(client):
                if self.slow:
                    asked.hear(data)
                self.passed += self.wire is Wire.DEAF
                server.sendall(data)
        except OSError:
            pass  # the other side has gone: so has this connection
        finally:
            _end(server)
            back.join()
            with self._lock:
                self._sockets -= {client, server}

    def _replies(self, server: socket.socket, client: socket.socket, asked: Asked) -> None:
        held = bytearray()
        with contextlib.suppress(OSError):
            for data in self._read(server):
                if self.wire is Wire.DEAF:
                    break
                if self.slow or held:
                    held += data
                    for frame in frames(held):
                        self._hold_back(self._delay_s(frame, asked))
                        client.sendall(frame)
                else:
                    client.sendall(data)
        _end(client)

    def _hold_back(self, seconds: float) -> None:
        if seconds:
            time.sleep(seconds)
            self.slow_until_s = time.monotonic()

    def _delay_s(self, reply: bytes, asked: Asked) -> float:
        delays = self.slow.get(asked.by_id.pop(int.from_bytes(reply[4:8], "big"), -1))
        return delays.pop() if delays else 0.0

    def _read(self, source: socket.socket) -> Iterator[bytes]:
        """What comes, while the wire lets it through."""
        while data := source.recv(CHUNK):
            while self.wire is Wire.HELD:
                time.sleep(POLL_S)
            if self.wire is Wire.CUT:
                return
            yield data


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)

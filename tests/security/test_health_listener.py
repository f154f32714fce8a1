"""What workers and controllers answer over HTTP stays small: read only, no versions, and nobody holds its threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

from stoploss import probes
from stoploss.embedded.ports import LOOPBACK

PATIENCE_S = 60.0


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(probes.Handler, "timeout", 0.2)
    server = probes.listen(list, list, LOOPBACK, 0)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()
    serving.join(PATIENCE_S)


def asked(port: int, method: str, path: str) -> HTTPResponse:
    connection = HTTPConnection(LOOPBACK, port, timeout=PATIENCE_S)
    connection.request(method, path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_who_connects_and_asks_nothing_is_let_go(port: int) -> None:
    assert probes.Handler.timeout is not None
    with socket.create_connection((LOOPBACK, port), timeout=PATIENCE_S) as silent:
        assert silent.recv(1) == b""


def test_who_asks_slowly_is_let_go(port: int) -> None:
    with socket.create_connection((LOOPBACK, port), timeout=PATIENCE_S) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        assert slow.recv(1) == b""


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/<script>"])
def test_an_answer_is_not_guessed_at_and_tells_no_version(port: int, path: str) -> None:
    answer = asked(port, "GET", path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["Server"].strip() == "stoploss"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed_by_it(port: int, method: str) -> None:
    assert asked(port, method, "/livez").status == 501

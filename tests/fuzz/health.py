"""Damaged requests to a worker's health endpoints: each is answered in HTTP or hung up on, and the next is answered."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from stoploss.embedded.ports import LOOPBACK
from stoploss.probes import listen
from tests.fuzz.front import ask
from tests.fuzz.mutations import damaged

HEALTHY = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
TIMEOUT_S, PATIENCE_S = 60.0, 0.05
PATHS = (
    *(
        b"/livez",
        b"/readyz",
        b"/metrics",
        b"/livez?a=b",
        b"/metrics?x=%00",
        b"/",
        b"",
        b"//livez",
        b"/livez/../metrics",
    ),
    *(b"http://evil.example/livez", b"*", b"/%2e%2e/%2e%2e/etc/passwd", b"/\xff\xfe", b"/" + b"x" * 70_000, b"/\x00"),
    *(b"/<script>alert(1)</script>", b"/a\rX-Injected: yes", b"/livez#x", b"\\livez", b"/ livez", "/лив".encode()),
)
METHODS = (
    b"GET",
    b"GET",
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"get",
    b"\xff",
)
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9" + b"9" * 400, b"", b"HTCPCP/1.0")
HEADERS = (
    *(b"Host: localhost", b"Host: evil.example", b"Expect: 100-continue", b"Transfer-Encoding: chunked", b": x", b" x"),
    *(b"Content-Length: -1", b"Content-Length: 9" + b"9" * 5_000, b"Connection: keep-alive", b"X: " + b"y" * 70_000),
    *(b"\xff: \xff", b"Range: bytes=0-1", b"Upgrade: websocket", b"Cookie: " + b"a=b;" * 500),
)


@contextmanager
def listening() -> Iterator[int]:
    """The worker's own server; gives its port. What a handler raised is raised when it ends."""
    faults: list[BaseException | None] = []
    with listen(list, list, LOOPBACK, 0) as server:
        server.handle_error = lambda *_: faults.append(sys.exception())  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()
    # Who hangs up in the middle of an answer is no fault of the server.
    assert [fault for fault in faults if not isinstance(fault, ConnectionError)] == []


def check(seed: int, port: int) -> int:
    """Raises AssertionError where a request is answered by a fault of the server, or the next one not at all."""
    rng = Random(seed)
    for _ in range(20):
        request = _request(rng)
        answer = ask(port, request, PATIENCE_S)
        # Methods that are not there are 501, versions 505, a path that is too long 414.
        assert answer is None or answer.status in (200, 501, 505) or 400 <= answer.status < 500, (answer, request)
    healthy = ask(port, HEALTHY, TIMEOUT_S)
    assert healthy is not None, seed
    assert healthy.status == 200, seed
    return 20


def _request(rng: Random) -> bytes:
    more = [rng.choice(HEADERS) for _ in range(rng.choice((0, 1, 2, 120 if rng.random() < 0.05 else 3)))]
    head = [b" ".join((rng.choice(METHODS), rng.choice(PATHS), rng.choice(VERSIONS))), b"Connection: close", *more]
    request = b"\r\n".join(head) + b"\r\n\r\n" + rng.choice((b"", b"", b"body"))
    return damaged(rng, request) if rng.random() < 0.4 else request

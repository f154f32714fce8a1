"""Damaged requests to the embedded ClickHouse: each gets an answer of HTTP, and it goes on answering others."""

from __future__ import annotations

import re
import select
import socket
from dataclasses import dataclass
from random import Random
from urllib.parse import quote_from_bytes

from tests.fuzz.mutations import STRINGS, damaged

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
CODE = re.compile(rb"(?i)x-clickhouse-exception-code: (\d+)")
TIMEOUT_S = 60.0
PATIENCE_S = 0.3
STATEMENTS = (
    *(b"SELECT 1", b"SELECT {x:UInt8}", b"INSERT INTO t FORMAT CSV\n1\n", b"INSERT INTO t (a) VALUES (1)"),
    *(
        b"SELECT * FROM t FORMAT JSON",
        b"SELECT 1 FORMAT \xff",
        b"INSERT INTO t\xff FORMAT CSV\n1",
        b"\x00",
        b"'",
        b"/*",
    ),
    *(b"SELECT " + b"(" * 5_000, b"SELECT 1;" * 50, b"USE nowhere", b"SET x = 1", b"\xf0\x9f\x92\xa5", b"EXPLAIN"),
)
HEALTHY = b"GET /?query=SELECT+1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
ARGUMENTS = ("query", "database", "default_format", "param_x", "query_id", "compress", "decompress", "role", "x y", "")
HEADERS = (
    *(b"Content-Encoding: gzip", b"Content-Encoding: zstd", b"Content-Encoding: br", b"Content-Encoding: \xff"),
    *(b"Host: evil.example", b"Origin: http://evil.example", b"Host: [::1", b"X-ClickHouse-Format: \xff\xfe"),
    *(
        b"X-ClickHouse-Database: `",
        b"Content-Type: multipart/form-data; boundary=x",
        b"Content-Type: multipart/form-data",
    ),
    *(b"Transfer-Encoding: chunked", b"Content-Length: -1", b"Content-Length: 99999", b"Expect: 100-continue", b": x"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """status: of HTTP; code: ClickHouse's own, of an error that is one of its statement's."""

    status: int
    code: bytes

    @property
    def is_orderly(self) -> bool:
        return self.status in (100, 200, 501, 503) or 400 <= self.status < 500 or bool(self.code)


def check(seed: int, port: int) -> int:
    """Raises AssertionError where a request is answered by a fault of the front."""
    rng = Random(seed)
    for _ in range(10):
        request = _request(rng)
        answer = ask(port, request)
        # Without an answer the front hung up: on what is no HTTP, or on a body that never ends.
        assert answer is None or answer.is_orderly, (answer, request)
    assert ask(port, HEALTHY, TIMEOUT_S) == Answer(200, b"")
    return 10


def _request(rng: Random) -> bytes:
    method = rng.choice((b"GET", b"POST", b"POST", b"POST", b"PUT", b"DELETE", b"HEAD", b"FOO", b"get"))
    body = rng.choice(STATEMENTS)
    pairs = [f"{rng.choice(ARGUMENTS)}={_quoted(rng)}" for _ in range(rng.randrange(4))]
    if rng.random() < 0.3:
        pairs.append(f"query={quote_from_bytes(rng.choice(STATEMENTS))}")
    more = [rng.choice(HEADERS)] if rng.random() < 0.5 else []
    head = [method + b" /?" + "&".join(pairs).encode() + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *more]
    head.append(b"Content-Length: %d" % len(body))
    request = b"\r\n".join(head) + b"\r\n\r\n" + body
    return damaged(rng, request) if rng.random() < 0.4 else request


def _quoted(rng: Random) -> str:
    return quote_from_bytes(rng.choice(("1", "default", "CSV", "\r\nX: y", *STRINGS)).encode())


def ask(port: int, request: bytes, patience_s: float = PATIENCE_S) -> Answer | None:
    """None where there is no answer, or none yet: of a body that never ends nobody can tell the two apart."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        try:
            connection.sendall(request)
            if not select.select([connection], [], [], patience_s)[0]:
                return None
            answer = connection.recv(65_536)  # status and headers stand in the first of it
        except (BrokenPipeError, ConnectionResetError):
            return None
    status, code = STATUS.match(answer), CODE.search(answer)
    return Answer(int(status[1]), code[1] if code else b"") if status else None

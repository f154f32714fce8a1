"""Damaged requests to the console: paths, queries, forms, headers and cookies, through the whole application.

No request that lacks one of its protections may ask for anything, whatever else it carries; each gets an answer that is
no fault of the program, with the headers that protect a browser, and shows nothing unescaped.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import quote_from_bytes

from starlette.testclient import TestClient

from stoploss.console.app import build
from stoploss.console.guard import HEADERS as PROTECTING
from stoploss.console.parts import Console
from stoploss.console.sessions import Sessions
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from tests.console.world import PAST, PERSON, _past
from tests.fuzz.mutations import NOT_UTF8, STRINGS, damaged
from tests.installation import Kafka, Tail, installed

BASE = "http://127.0.0.1:8765"
LOCAL = re.compile(rf"({BASE})?/(?![/\\\\])")
SCRIPT = "<img src=x onerror=alert(1)>"
NAMES = (PAST.encode(), PAST.encode(), b"checkout", SCRIPT.encode(), *(text.encode() for text in STRINGS), *NOT_UTF8)
ACTIONS = (b"stop", b"rollback", b"pause", b"resume", b"start", b"freeze", b"unfreeze", b"register", b"\x00", b"")
PAGES = ("", "waiting", "budgets", "search", "letters", "signin", "healthz", "events", "static", "nowhere", "static/..")
PARTS = ("", "/pictures", "/review", "/review.md", "/nowhere", "/ask/stop", "/ask/resume", "/ask/%00", "//", "/..")
FIELDS = ("q", "stage", "code", "next", "person", "token", "done", "seen", "experiment", "x", "")
METHODS = ("GET", "GET", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "FOO")
HEADERS = (
    *((b"host", b"evil.example"), (b"host", b"[::1"), (b"host", b""), (b"accept", b"\xff"), (b"accept", b"text/html")),
    *((b"cookie", b"a=b;" * 400), (b"cookie", b"\xff\xfe=\x00"), (b"cookie", b'x="\\'), (b"range", b"bytes=5-1")),
    *((b"sec-fetch-site", b"cross-site"), (b"if-modified-since", b"\xff"), (b"x-forwarded-host", b"evil.example")),
)
FORM = b"application/x-www-form-urlencoded"
TYPES = (FORM, FORM, FORM, b"multipart/form-data; boundary=x", b"application/json", b"\xff", b"")


@dataclass
class Asked:
    """A console on an installation in which nobody answers, with one past experiment; and what went out of it."""

    console: Console
    client: TestClient
    experiments: Tail
    cookie: str

    @property
    def csrf(self) -> str:
        session = self.console.sessions.session(self.cookie)
        assert session is not None
        return session.csrf


@contextmanager
def asking(kafka: Kafka, clickhouse: EmbeddedClickHouse, home: Path) -> Iterator[Asked]:
    with installed(kafka, home, clickhouse_url=clickhouse.url) as installation:
        settings = installation.settings
        with closing(connect(clickhouse.url, database=settings.clickhouse_database)) as client:
            migrate(client)
            _past(settings, client)
        console = Console.of(settings)
        experiments = Tail(settings, "experiments")
        with TestClient(build(console), base_url=BASE, follow_redirects=False) as browser, closing(experiments):
            yield Asked(console, browser, experiments, console.sessions.begin(PERSON))


def check(seed: int, asked: Asked) -> int:
    """Raises what the application raised, and AssertionError where an answer is not as it should be."""
    rng = Random(seed)
    for _ in range(20):
        (_sends if rng.random() < 0.6 else _looks)(rng, asked)
    assert asked.experiments.seen() == [], seed
    assert _answer(asked, "GET", "/healthz", []) == 200
    return 20


def _looks(rng: Random, asked: Asked) -> None:
    """A signed-in person's address bar, or a stranger's."""
    path = rng.choice((_page, _page, _experiment))(rng)
    query = "&".join(f"{rng.choice(FIELDS)}={_quoted(rng)}" for _ in range(rng.randrange(3)))
    headers = [(b"accept", b"text/html"), *([rng.choice(HEADERS)] if rng.random() < 0.3 else [])]
    if rng.random() < 0.7 and "events" not in path:  # that one goes on until the browser has gone
        headers.append(_cookie(asked.console.sessions, asked.cookie))
    _answer(asked, rng.choice(METHODS), f"{path}?{query}", headers)


def _sends(rng: Random, asked: Asked) -> None:
    """A form that asks for something, without one of its protections at least."""
    path = f"/line/ask/{_part(rng, ACTIONS)}" if rng.random() < 0.2 else _experiment(rng, "/ask/")
    path = rng.choice((path, path, path, "/signin", "/signout"))
    fields = {"csrf": asked.csrf, "request_id": str(uuid.UUID(int=rng.getrandbits(128))), "reason": "x", "seen": "x"}
    cookie = _cookie(asked.console.sessions, asked.cookie)
    headers = [(b"origin", BASE.encode()), (b"content-type", rng.choice(TYPES)), cookie]
    match rng.randrange(4):
        case 0:
            fields["csrf"] = rng.choice(("", asked.csrf[:-1], f"{asked.csrf}=", asked.csrf.swapcase(), *STRINGS))
        case 1:
            headers[0] = (b"origin", rng.choice((b"null", b"", b"http://evil.example", b"http://127.0.0.1", b"\xff")))
        case 2:
            headers[2] = _forged(rng, asked)
        case 3:
            fields["request_id"] = rng.choice(("", "1", *STRINGS))
    fields |= {rng.choice(("reason", "exposure", "seen", "person", "token", "next")): rng.choice(STRINGS)}
    body = "&".join(f"{name}={quote_from_bytes(value.encode())}" for name, value in fields.items()).encode()
    if rng.random() < 0.2:
        body = rng.choice((b"&".join([b"a=b"] * 50) + b"&" + body, body + b"&reason=%ff", body + b"x" * 70_000))
    _answer(asked, "POST", path, headers, body)


def _cookie(sessions: Sessions, value: str) -> tuple[bytes, bytes]:
    return b"cookie", f"{sessions.cookie}={value}".encode()


def _forged(rng: Random, asked: Asked) -> tuple[bytes, bytes]:
    """One that nobody was given: of another secret, without its MAC, with another's content, or bytes."""
    content, _, mac = asked.cookie.partition(".")
    other = Sessions(rng.randbytes(32))
    values = (other.begin(PERSON), content, f"{content}.", f".{mac}", f"{content[:-4]}.{mac}", f"{content}.{mac[:-1]}")
    name = asked.console.sessions.cookie.encode()
    return b"cookie", name + b"=" + rng.choice((*(value.encode() for value in values), *NOT_UTF8, rng.randbytes(20)))


def _page(rng: Random) -> str:
    page = rng.choice(PAGES)
    return f"/{page}/{_part(rng, NAMES)}" if rng.random() < 0.4 else f"/{page}"


def _experiment(rng: Random, ask: str = "") -> str:
    name = _part(rng, NAMES)
    return f"/experiments/{name}{ask}{_part(rng, ACTIONS)}" if ask else f"/experiments/{name}{rng.choice(PARTS)}"


def _part(rng: Random, among: tuple[bytes, ...]) -> str:
    value = rng.choice(among)
    return quote_from_bytes(damaged(rng, value) if rng.random() < 0.2 else value, safe="")


def _quoted(rng: Random) -> str:
    return quote_from_bytes(rng.choice((SCRIPT.encode(), b"/waiting", b"//evil.example", *NAMES)))


def _answer(asked: Asked, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> int:
    answer = asked.client.request(method, path, headers=headers, content=body)
    said = (answer.status_code, method, path[:300], [(name, value[:100]) for name, value in headers], body[:300])
    assert answer.status_code < 500 or answer.status_code == 503, said
    assert all(answer.headers[name] == value for name, value in PROTECTING.items()), said
    assert SCRIPT not in answer.text, said
    assert LOCAL.match(answer.headers.get("location", "/")), said
    return int(answer.status_code)

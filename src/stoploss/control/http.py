"""One HTTP request in bounded time; what goes wrong comes back as a sentence and is never raised."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import urlsplit

RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes out; no body: none is sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """How it went.

    status         of HTTP; None: nobody answered
    reason         why it failed, with the beginning of what was answered; empty where a 2xx came back
    retry_after_s  how long the server asked to be left alone; None: it did not say
    """

    status: int | None
    reason: str = ""
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        return not self.reason


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib turns a redirected POST into a GET without its body and calls that a success."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def opener(context: ssl.SSLContext | None = None) -> urllib.request.OpenerDirector:
    """One that follows no redirect; `context` says whose certificates it believes, None: the system's."""
    return urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))


_default = opener()


def ask(outgoing: Outgoing, timeout_s: float, through: urllib.request.OpenerDirector = _default) -> Answer:
    """Sends once and waits for the answer; only a 2xx is a success."""
    headers = {"User-Agent": "stoploss", **outgoing.headers}
    request = urllib.request.Request(outgoing.url, data=outgoing.body, headers=headers, method=outgoing.method)
    try:
        with through.open(request, timeout=timeout_s) as response:
            response.read()
            return Answer(response.status)
    except urllib.error.HTTPError as error:
        with error:
            told = f"answered {error.code}: {_start_of(error)}"
            return Answer(error.code, told, _seconds(error.headers.get("Retry-After")))
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, f"did not answer: {getattr(error, 'reason', None) or error or type(error).__name__}")


def is_address(url: str) -> bool:
    """Of what can be asked. One with a login or a space cannot: http.client would quote the secrets in its refusal.

    >>> is_address("https://h:8443/services/T00"), is_address("https://ada:pw@h/"), is_address("https://h/T00 ")
    (True, False, False)
    """
    try:
        parts = urlsplit(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
        return is_plain and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def host_of(url: str) -> str:
    """Scheme and host: paths and queries may hold secrets and stay out of logs.

    >>> host_of("https://hooks.example.org:8443/services/T00/B00?key=1")
    'https://hooks.example.org:8443'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _seconds(retry_after: str | None) -> float | None:
    """The form with a date is not read: it would need both clocks to agree.

    >>> _seconds("2"), _seconds("Fri, 31 Dec 1999 23:59:59 GMT")
    (2.0, None)
    """
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None


def _start_of(error: urllib.error.HTTPError) -> str:
    try:
        text = error.read(200).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        text = ""
    return text or str(error.reason)

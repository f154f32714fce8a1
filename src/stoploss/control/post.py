"""Posts JSON over HTTP in bounded time and says how it went; nothing it meets on the way reaches the caller."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import urlsplit

from stoploss.errors import ConfigurationError

RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Posted:
    """How a post went; the reason is empty where it went well."""

    ok: bool
    reason: str = ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib turns a redirected POST into a GET without its body and calls that a success."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to post, and how long to try: at most attempts * (timeout_s + pause), in the caller's thread.

    headers  further headers, such as an authorization
    pause_s  wait before the second attempt; it doubles for each further one
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 3.0
    attempts: int = 3
    pause_s: float = 0.2
    sleep: Callable[[float], object] = time.sleep

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise ConfigurationError(f"{self.url!r} is no address to post alerts to; write http://host:port/path")
        if self.attempts < 1:
            raise ConfigurationError(f"{self.attempts} attempts post nothing; give at least 1")

    @property
    def name(self) -> str:
        """Scheme and host: paths of webhooks hold secrets and stay out of logs."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    def post(self, document: Any) -> Posted:
        """Tries until a 2xx comes back; a refusal (4xx, a redirect) is final, anything else is tried again."""
        body = json.dumps(document, ensure_ascii=False).encode()
        reason = ""
        for attempt in range(self.attempts):
            if attempt:
                self.sleep(self.pause_s * 2 ** (attempt - 1))
            reason, again = self._try(body)
            if not again:
                break
        return Posted(not reason, reason and f"{self.name} {reason}")

    def _try(self, body: bytes) -> tuple[str, bool]:
        """Why it failed ("": it did not), and whether another attempt may help."""
        headers = {"Content-Type": "application/json", "User-Agent": "stoploss", **self.headers}
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with _opener.open(request, timeout=self.timeout_s) as response:
                response.read()
        except urllib.error.HTTPError as error:
            with error:
                return f"answered {error.code}: {_start_of(error)}", error.code in RETRY_STATUS
        except (OSError, http.client.HTTPException) as error:
            return f"did not answer: {getattr(error, 'reason', None) or error or type(error).__name__}", True
        return "", False


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return url.isascii() and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _start_of(error: urllib.error.HTTPError) -> str:
    try:
        text = error.read(200).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        text = ""
    return text or str(error.reason)

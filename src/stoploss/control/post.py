"""Posts JSON over HTTP in bounded time and says how it went; nothing it meets on the way reaches the caller."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stoploss.control.http import RETRY_STATUS, Outgoing, ask, host_of, is_address
from stoploss.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Posted:
    """How a post went; the reason is empty where it went well."""

    ok: bool
    reason: str = ""


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
        if not is_address(self.url):
            # Never the address itself: it may hold a secret.
            raise ConfigurationError(
                "what is set is no address to post alerts to; write http://host:port/path, without a login or a space"
            )
        if self.attempts < 1:
            raise ConfigurationError(f"{self.attempts} attempts post nothing; give at least 1")

    @property
    def name(self) -> str:
        return host_of(self.url)

    def post(self, document: Any) -> Posted:
        """Tries until a 2xx comes back; a refusal (4xx, a redirect) is final, anything else is tried again."""
        body = json.dumps(document, ensure_ascii=False).encode()
        outgoing = Outgoing("POST", self.url, {"Content-Type": "application/json", **self.headers}, body)
        reason = ""
        for attempt in range(self.attempts):
            if attempt:
                self.sleep(self.pause_s * 2 ** (attempt - 1))
            answer = ask(outgoing, self.timeout_s)
            reason = answer.reason
            if answer.ok or not (answer.status is None or answer.status in RETRY_STATUS):
                break
        return Posted(not reason, reason and f"{self.name} {reason}")

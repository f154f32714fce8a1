"""The actuator that tells a vendor over HTTP what a command desires. Applied is what was answered with a 2xx."""

from __future__ import annotations

import dataclasses
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from stoploss.commands import Command
from stoploss.control.adapter.command_names import treatment_parts
from stoploss.control.adapter.rate import Limiter
from stoploss.control.adapter.rendering import is_closed, rendered
from stoploss.control.adapter.secrets import hidden, read_secrets
from stoploss.control.adapter.sent import Sent
from stoploss.control.adapter.shown import described
from stoploss.control.adapter.signed import signature_headers
from stoploss.control.adapter.spec import Adapter
from stoploss.control.http import RETRY_STATUS, Answer, Outgoing, ask, host_of, opener
from stoploss.errors import CommandRefused, ConfigurationError, StoplossError

log = structlog.get_logger(__name__)


class NotTaken(StoplossError):
    """The vendor did not answer with a 2xx, as often as it was asked."""


@dataclass(frozen=True, slots=True)
class Time:
    """wall_s for signatures, monotonic_s for rates, sleep between attempts."""

    wall_s: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


class HttpAdapter:
    """Sends the requests of one adapter, in order, one command at a time; ends at the first that is not taken."""

    def __init__(self, adapter: Adapter, sent: Path | None = None, *, time: Time | None = None) -> None:
        """
        sent  where an adapter with `once` remembers what went out

        Raises ConfigurationError where a secret or the file of certificates is not there.
        """
        if adapter.once and sent is None:
            raise ConfigurationError(f"adapter {adapter.name!r} has once: true and needs a file to remember by")
        self._adapter, self._time = adapter, time or Time()
        self._sent = Sent(sent) if sent is not None and adapter.once else None
        self._limiter = Limiter(adapter.rate, self._time.monotonic_s)
        self._opener = opener(_context(adapter.ca_file))
        read_secrets(adapter.secrets)

    def apply(self, command: Command) -> None:
        """Returns once each request was answered with a 2xx; raises StoplossError with the reason where not."""
        if self._sent is not None and self._sent.has(command.experiment, command.command_id):
            return
        secrets = read_secrets(self._adapter.secrets)
        requests = rendered(self._adapter, command, secrets)
        self._check_rate(command, len(requests))
        for number, outgoing in enumerate(requests, 1):
            self._send(outgoing, f"{command.command_id}-{number}", secrets)
        if self._sent is not None:
            self._sent.note(command.experiment, command.command_id)

    def describe(self, command: Command) -> str:
        """The requests that `apply` would send, without secrets; raises what it would raise before it sends."""
        return described(self._adapter, command)

    def _check_rate(self, command: Command, requests: int) -> None:
        """What takes the treatment from everybody goes out whatever the rate: the vendor may say no, we do not."""
        takes_away = treatment_parts(command, closed=is_closed(self._adapter, command)) == 0
        wait_s = 0.0 if takes_away else self._limiter.wait_s(requests)
        if wait_s > 0:
            raise CommandRefused(
                f"adapter {self._adapter.name!r} has sent as much as its rate allows; there is room in {wait_s:.0f} s, "
                "and the command comes again"
            )

    def _send(self, outgoing: Outgoing, request_id: str, secrets: Mapping[str, str]) -> None:
        answer = self._attempt(outgoing, request_id, secrets)
        for attempt in range(1, self._adapter.retry.attempts):
            if answer.ok or not self._may_try_again(answer):
                break
            self._time.sleep(self._adapter.retry.pause_s(attempt, answer.retry_after_s))
            answer = self._attempt(outgoing, request_id, secrets)
        if not answer.ok:
            raise NotTaken(hidden(f"{host_of(outgoing.url)} {answer.reason}", secrets))
        log.info("request_taken", adapter=self._adapter.name, request_id=request_id, status=answer.status)

    def _attempt(self, outgoing: Outgoing, request_id: str, secrets: Mapping[str, str]) -> Answer:
        self._limiter.sent()
        signature = self._adapter.signature
        if signature is not None:
            secret, at_s = secrets[signature.secret], int(self._time.wall_s())
            signed = signature_headers(request_id, outgoing.body or b"", secret, at_s)
            outgoing = dataclasses.replace(outgoing, headers={**outgoing.headers, **signed})
        return ask(outgoing, self._adapter.timeout, self._opener)

    def _may_try_again(self, answer: Answer) -> bool:
        return answer.status is None or answer.status in RETRY_STATUS or answer.status in self._adapter.retry.statuses


def _context(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the certificates in {ca_file} cannot be read: {error}") from None

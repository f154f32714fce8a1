"""register, start, pause, resume, stop, rollback: a request goes out, and the judge's last word comes back."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Consumer

from stoploss import journal
from stoploss.cli import addresses
from stoploss.errors import ConfigurationError, RequestRefused
from stoploss.journal import RequestHandled
from stoploss.ledger import Request
from stoploss.settings import Settings
from stoploss.spec.checks import not_enforced_yet
from stoploss.spec.file import parse_experiment
from stoploss.wire import records
from streams.appender import Appender
from streams.reading import ends, reader
from streams.registry_view import RegistryView

ANSWER_TIMEOUT_S = 60.0
DONE = {
    "register": "is registered; begin with `stoploss start {experiment}`",
    "start": "is started; see it with `stoploss watch {experiment}`",
    "pause": "is paused: nobody gets the treatment variant; `stoploss resume {experiment}` begins a new run",
    "resume": "is running again, in a new run",
    "stop": "is stopped: nobody gets the treatment variant",
    "rollback": "is rolled back: everybody gets the variant that the spec rolls back to",
}
"""What is the case once the judge has accepted a request."""


def register(file: Path, reason: str, as_json: bool) -> None:
    """Refused here already where the spec is wrong, so that every violation is seen with its line."""
    try:
        text = file.read_text()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} cannot be read: {error}; write it in UTF-8") from error
    experiment = parse_experiment(text, str(file))
    settings = addresses.connected()
    handled = send(settings, request_of("register", experiment.name, reason, spec=text))
    not_enforced = not_enforced_yet(experiment)
    _print(experiment.name, handled, as_json, not_enforced=not_enforced)
    if not_enforced and not as_json:
        print(f"recorded, but not enforced by this version: {'; '.join(not_enforced)}")


def ask(action: str, experiment: str, reason: str, as_json: bool, exposure: float | None = None) -> None:
    settings = addresses.connected()
    _require_registered(settings, experiment)
    handled = send(settings, request_of(action, experiment, reason, exposure=exposure))
    _print(experiment, handled, as_json)


def _require_registered(settings: Settings, experiment: str) -> None:
    view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
    known = sorted(entry.experiment for entry in view.entries())
    view.stop()
    if experiment not in known:
        raise RequestRefused(
            f"experiment {experiment!r} is not registered; registered: {', '.join(known) or 'none'}; "
            "register it with `stoploss register FILE.yaml`"
        )


def request_of(
    action: str, experiment: str, reason: str, *, spec: str | None = None, exposure: float | None = None
) -> Request:
    return Request(
        request_id=str(uuid.uuid4()),
        experiment=experiment,
        action=action,
        by=getpass.getuser(),
        reason=reason,
        at=time.time_ns() // 1_000,
        spec=spec,
        exposure=exposure,
    )


def send(settings: Settings, request: Request) -> RequestHandled:
    """Sends a request and waits for the judge; raises RequestRefused with its reason where it is refused."""
    bootstrap = settings.need_kafka()
    consumer = reader(bootstrap)
    topic = settings.topics("journal")
    # The log's ends before the request goes out: its answer can only stand behind them.
    consumer.assign(ends(consumer, topic))
    appender = Appender(bootstrap, linger_ms=0)
    appender.append(settings.topics("experiments"), records.encode("request", request), key=request.experiment.encode())
    appender.flush()
    try:
        handled = next((found for found in _handled(consumer) if found.request_id == request.request_id), None)
    finally:
        consumer.close()
    if handled is None:
        raise RequestRefused(
            f"no answer within {ANSWER_TIMEOUT_S:.0f} s: the request is sent and stays; are registrar and judge "
            "running? `stoploss doctor` looks"
        )
    if not handled.accepted:
        raise RequestRefused(f"{request.action} of {request.experiment!r} is refused: {handled.reason}")
    return handled


def _handled(consumer: Consumer) -> Iterator[RequestHandled]:
    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        message = consumer.poll(left_s)
        if message is None or message.error() is not None:
            continue
        conclusion = journal.decode(message.value()).conclusion
        if isinstance(conclusion, RequestHandled):
            yield conclusion


def _print(experiment: str, handled: RequestHandled, as_json: bool, **more: object) -> None:
    if not as_json:
        print(f"{experiment} {DONE[handled.action].format(experiment=experiment)}")
        return
    answer = {"accepted": handled.accepted, "reason": handled.reason, "request_id": handled.request_id}
    print(json.dumps({"experiment": experiment, "action": handled.action, **answer, **more}))

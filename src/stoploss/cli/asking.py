"""register, start, pause, resume, stop, rollback: a request goes out, and the judge's last word comes back."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from confluent_kafka import Consumer

from stoploss import journal
from stoploss.cli import addresses
from stoploss.cli.knowledge import like, similar_lines
from stoploss.cli.progress import working
from stoploss.errors import ConfigurationError, InvalidExperiment, RequestRefused
from stoploss.governance.changes import NOTHING_CHANGED
from stoploss.journal import RequestHandled
from stoploss.ledger import Request
from stoploss.policy.units import factor_faults
from stoploss.settings import Settings
from stoploss.signing import SIGNATURE_HEADER, Signer
from stoploss.spec.checks import not_enforced_yet
from stoploss.spec.file import parse_experiment, violations_in
from stoploss.wire import records, schemas
from stoploss.wire.framing import framing_of
from streams.appender import Appender
from streams.policy import policy_of, read_policy
from streams.reading import ends, reader
from streams.registry_view import RegistryView

ANSWER_TIMEOUT_S = 60.0
DONE = {
    "register": "is registered; begin with `stoploss start {experiment}`",
    "amend": "is amended; `stoploss status` shows whether it has to be approved anew",
    "approve": "has your approval",
    "reject": "has your rejection, and nothing raises its exposure until you approve",
    "rehearse": "was given a dry-run rollback; it counts once all controllers have acknowledged it",
    "start": "is started; see it with `stoploss watch {experiment}`",
    "ramp": "has another share of the traffic",
    "pause": "is paused: nobody gets the treatment variant; `stoploss resume {experiment}` begins a new run",
    "resume": "is running again, in a new run",
    "stop": "is stopped: nobody gets the treatment variant",
    "rollback": "is rolled back: everybody gets the variant that the spec rolls back to",
    "complete": "is completed",
    "reviewed": "is reviewed",
    "note": "has your note",
}
"""What is the case once the judge has accepted a request."""
AGAIN = "is registered already, as this spec says; nothing changed"


def text_of(file: Path) -> str:
    """Raises ConfigurationError where it cannot be read."""
    try:
        return file.read_text()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} cannot be read: {error}; write it in UTF-8") from error


def register(file: Path, reason: str, as_json: bool, action: str = "register") -> None:
    """Refused here already where the spec is wrong, so that every violation is seen with its line.

    action  register or amend
    """
    text = text_of(file)
    experiment = parse_experiment(text, str(file))
    if faults := list(factor_faults(experiment)):
        raise InvalidExperiment(str(file), violations_in(text, faults))
    settings = addresses.connected()
    if action != "register":
        _require_registered(settings, experiment.name)
    handled = answered(settings, request_of(action, experiment.name, reason, spec=text))
    not_enforced = not_enforced_yet(experiment, policy_of(read_policy(settings)))
    _print(experiment.name, handled, as_json, not_enforced=not_enforced)
    if not_enforced and not as_json:
        print(f"recorded, but not enforced by this version: {'; '.join(not_enforced)}")
    if action == "register" and not as_json:
        print("".join(f"{line}\n" for line in similar_lines(like(settings, experiment))), end="")


def ask(
    action: str,
    experiment: str,
    reason: str,
    as_json: bool,
    exposure: float | None = None,
    body: str | None = None,
    **then: Callable[[], object],
) -> None:
    """
    then  what is looked up once it is accepted, by the name that it has in JSON
    """
    settings = addresses.connected()
    _require_registered(settings, experiment)
    handled = answered(settings, request_of(action, experiment, reason, exposure=exposure, body=body))
    _print(experiment, handled, as_json, **{name: look() for name, look in then.items()})


def _require_registered(settings: Settings, experiment: str) -> None:
    with working("reading the registry"):
        view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
        known = sorted(entry.experiment for entry in view.entries())
        view.stop()
    if experiment not in known:
        raise RequestRefused(
            f"experiment {experiment!r} is not registered; registered: {', '.join(known) or 'none'}; "
            "register it with `stoploss register FILE.yaml`"
        )


def request_of(
    action: str,
    experiment: str,
    reason: str,
    *,
    spec: str | None = None,
    exposure: float | None = None,
    body: str | None = None,
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
        body=body,
    )


def signed(settings: Settings, request: Request) -> tuple[Request, list[tuple[str, bytes]]]:
    """The request in the name of the person whose key is set, and the headers that it goes out with."""
    if settings.person_key is None:
        return request, []
    request = replace(request, by=settings.person_key.stem)
    signature = Signer.load(settings.person_key).sign(records.encode("request", request))
    return request, [(SIGNATURE_HEADER, signature.encode())]


def answered(settings: Settings, request: Request) -> RequestHandled:
    """As `send`, for who waits at a terminal: they are told that it is still waited for."""
    with working("waiting for the judge"):
        return send(settings, request)


def send(settings: Settings, request: Request) -> RequestHandled:
    """Sends a request and waits for the judge; raises RequestRefused with its reason where it is refused."""
    bootstrap = settings.need_kafka()
    request, headers = signed(settings, request)
    consumer = reader(bootstrap)
    # The logs' ends before the request goes out: its answer can only stand behind them.
    consumer.assign([end for name in ("journal", "ledger") for end in ends(consumer, settings.topics(name))])
    appender = Appender(bootstrap, linger_ms=0)
    value = records.encode("request", request)
    appender.append(settings.topics("experiments"), value, key=request.experiment.encode(), headers=headers)
    appender.flush()
    try:
        answers = _handled(consumer, settings.topics("journal"))
        handled = next((found for found in answers if found.request_id == request.request_id), None)
    finally:
        consumer.close()
    if handled is None:
        raise RequestRefused(
            f"no answer within {ANSWER_TIMEOUT_S:.0f} s: the request is sent and stays; are registrar and judge "
            "running? `stoploss doctor` looks"
        )
    if not handled.accepted:
        of = f" of {request.experiment!r}" if request.experiment else ""
        raise RequestRefused(f"{request.action}{of} is refused: {handled.reason}")
    return handled


def _handled(consumer: Consumer, journal_topic: str) -> Iterator[RequestHandled]:
    """The judge's words, and the registrar's where the judge has none: of what is of all experiments, or of none."""
    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        message = consumer.poll(left_s)
        if message is None or message.error() is not None:
            continue
        if message.topic() != journal_topic:
            yield from _of_registrar(message.value() or b"")
        elif isinstance(conclusion := journal.decode(message.value()).conclusion, RequestHandled):
            yield conclusion


def _of_registrar(value: bytes) -> Iterator[RequestHandled]:
    """Its last word, if the ledger entry is one: a refusal, what every partition is told, or what is of none."""
    if schemas.by_fingerprint(framing_of(value).mark).name != "request":
        return
    fact = records.decode(value, {"request": Request}, own=True)
    if fact.accepted is False or not fact.experiment:
        yield RequestHandled(fact.request_id, fact.action, fact.by, bool(fact.accepted), fact.opinion or "as asked")


def _print(experiment: str, handled: RequestHandled, as_json: bool, **more: object) -> None:
    if not as_json:
        done = AGAIN if handled.reason == NOTHING_CHANGED else DONE[handled.action]
        print(f"{experiment} {done.format(experiment=experiment)}")
        return
    answer = {"accepted": handled.accepted, "reason": handled.reason, "request_id": handled.request_id}
    print(json.dumps({"experiment": experiment, "action": handled.action, **answer, **more}))

"""What a person may ask for here, what would follow from it, and the request itself: the one that the CLI sends."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stoploss.cli.asking import request_of, send
from stoploss.console.reads import Standing
from stoploss.errors import RequestRefused
from stoploss.experiment import Experiment
from stoploss.journal import RequestHandled
from stoploss.ledger import Request
from stoploss.lifecycle import UNFREEZE, Lifecycle, refusal
from stoploss.review.words import share
from stoploss.settings import Settings

LONGEST_REASON = 500
MOST_REMEMBERED = 1_000
REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Offer:
    """A request that a page offers: what it does in a few words.

    raises  it may give the treatment to somebody, or allows somebody to
    """

    action: str
    label: str
    raises: bool


OFFERS = {
    offer.action: offer
    for offer in (
        Offer("stop", "Stop", False),
        Offer("rollback", "Roll back", False),
        Offer("pause", "Pause", False),
        Offer("resume", "Resume", True),
        Offer("start", "Start", True),
    )
}

APPROVE, REJECT = "approve", "reject"
DECISIONS = {offer.action: offer for offer in (Offer(APPROVE, "Approve", True), Offer(REJECT, "Reject", False))}
"""These are offered to whom roles and policy give them: console/deciding.py."""

DONE = {
    "stop": "It is stopped: nobody gets the treatment variant.",
    "rollback": "It is rolled back: everybody gets the variant that the spec rolls back to.",
    "pause": "It is paused: nobody gets the treatment variant until it is resumed.",
    "resume": "It is running again, in a new run.",
    "start": "It is started.",
    "approve": "Your approval is recorded.",
    "reject": "Your rejection is recorded: nothing raises its exposure until you approve it.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person filled in.

    seen  the state that the page showed; a request that raises exposure holds for that state alone
    body  what the request carries beside its reason
    """

    request_id: str
    reason: str
    exposure: float | None
    seen: str
    body: str | None = None


def offers(lifecycle: str) -> tuple[Offer, ...]:
    """What the lifecycle allows now."""
    return tuple(offer for offer in OFFERS.values() if refusal(offer.action, Lifecycle(lifecycle)) is None)


def state_of(standing: Standing, action: str) -> str:
    """What a confirmation speaks of: another run, epoch or state is another question; to approve, another spec."""
    status = standing.status
    spec = f", spec {standing.spec.spec_hash[:12]}" if action == APPROVE and standing.spec else ""
    return f"{status.lifecycle}, run {status.run}, epoch {status.epoch}{spec}"


def consequences(action: str, standing: Standing) -> tuple[str, ...]:
    """What will be the case once the judge has accepted the request."""
    return tuple(_raising(action, standing) if OFFERS[action].raises else _lowering(action, standing))


def _lowering(action: str, standing: Standing) -> Iterator[str]:
    status, spec = standing.status, standing.spec
    treatment = f"the treatment variant{_named(spec)}"
    to = f"'{spec.spec.rollback.to}'" if spec else "the variant that the spec rolls back to"
    yield f"Nobody gets {treatment} any more: {share(status.exposure)} of the traffic may get it now."
    yield f"Everybody gets {to}."
    yield "Requests that are under way end as they began; how many there were is counted and shown."
    if status.lifecycle == Lifecycle.ADOPTED:
        yield "It was rolled out: this takes it from users who were to keep it."
    if action == "pause":
        yield "A resume ends the pause. It begins a new run: the evidence of this one counts no more."
    else:
        yield "It stays so, whatever the monitor sees. Only a person's resume ends it, with a new run."
    yield _obeying(spec)


def _raising(action: str, standing: Standing) -> Iterator[str]:
    status, spec = standing.status, standing.spec
    again = "" if action == "start" else " again"
    yield f"The treatment variant{_named(spec)} gets traffic{again}, by the share below."
    yield f"Run {status.run + 1} begins: all evidence of earlier runs counts no more, and every rule begins anew."
    if status.stopped_segments:
        yield f"Segments that were stopped get the treatment again: {', '.join(status.stopped_segments)}."
    if status.lifecycle in (Lifecycle.STOPPED, Lifecycle.ROLLED_BACK):
        yield "It was ended by a rule or a person. Read why before you go on."
    yield _obeying(spec)


def _named(spec: Experiment | None) -> str:
    return f" '{spec.treatment.name}'" if spec else ""


def _obeying(spec: Experiment | None) -> str:
    names = spec.spec.assignment.controllers if spec else ()
    if not names:
        return "No controller has to answer; services that follow the control topic obey by themselves."
    return f"Controllers that have to apply it: {', '.join(names)}."


def first_stage(spec: Experiment | None) -> float | None:
    return spec.spec.ramp.shares[0] if spec else None


def asked_of(fields: dict[str, str]) -> Asked:
    """Raises RequestRefused where a field is not what it should be."""
    request_id, reason = fields.get("request_id", ""), fields.get("reason", "").strip()
    if not REQUEST_ID.fullmatch(request_id):
        raise RequestRefused("this form has lost its id; open the page again")
    if len(reason) > LONGEST_REASON:
        raise RequestRefused(f"the reason is longer than {LONGEST_REASON} characters; shorten it")
    return Asked(request_id, reason, share_typed(fields.get("exposure", "")), fields.get("seen", ""))


def share_typed(percent: str) -> float | None:
    """A share, from the percentage that a person typed."""
    if not percent.strip():
        return None
    try:
        value = float(percent.replace(",", ".")) / 100
    except ValueError:
        value = 0.0
    if not 0.0001 <= value <= 1:
        raise RequestRefused(f"{percent!r} is no exposure; give a number of percent, above 0 and at most 100")
    return value


class Desk:
    """Where requests go out. A form that is sent twice asks once, and both get the same answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._answered: OrderedDict[str, RequestHandled] = OrderedDict()

    def ask(self, person: str, action: str, standing: Standing, asked: Asked) -> RequestHandled:
        """The judge's last word. Raises RequestRefused where it is a no, or none comes."""
        if (answered := self._answered.get(asked.request_id)) is not None:
            return answered
        offer, now = (OFFERS | DECISIONS)[action], state_of(standing, action)
        if offer.raises and asked.seen != now:
            raise RequestRefused(f"it was {asked.seen} when you opened this page and is {now} now; look again")
        exposure = asked.exposure if offer.raises else None
        request = request_of(action, standing.status.experiment, asked.reason, exposure=exposure, body=asked.body)
        return self._sent(person, request, asked)

    def ask_of_line(self, person: str, action: str, asked: Asked, frozen: str | None) -> RequestHandled:
        """The registrar's last word on a stop of the whole line or its lift. A lift holds for the stop that was shown.

        frozen  since when the line is stopped, by whom and why; None where it is not
        """
        if (answered := self._answered.get(asked.request_id)) is not None:
            return answered
        if action == UNFREEZE and asked.seen != (frozen or ""):
            raise RequestRefused(f"when you opened this page {asked.seen}; now {frozen or 'it is not'}; look again")
        return self._sent(person, request_of(action, "", asked.reason), asked)

    def _sent(self, person: str, request: Request, asked: Asked) -> RequestHandled:
        handled = send(signing_as(person, self._settings), replace(request, request_id=asked.request_id, by=person))
        self._answered[asked.request_id] = handled
        if len(self._answered) > MOST_REMEMBERED:
            self._answered.popitem(last=False)
        return handled


def signing_as(person: str, settings: Settings) -> Settings:
    """Settings under which a request goes out in this person's name: with their key where the home has it.

    Raises RequestRefused where it would be signed with the key of somebody else.
    """
    own = settings.keys / "people" / f"{person}.key"
    if own.exists():
        return settings.model_copy(update={"person_key": own})
    if settings.person_key is not None and settings.person_key.stem != person:
        raise RequestRefused(
            f"this console signs with the key of {settings.person_key.stem}, and you are {person}; ask for it with "
            f"your own key, or put it at {own}"
        )
    return settings

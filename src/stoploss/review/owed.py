"""What people owe: new looks at baselines and risks, the review after a rollout, why the glass was broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from stoploss.commands import Micros
from stoploss.experiment import Experiment
from stoploss.governance.bodies import NoteTerms, body_of
from stoploss.governance.record import Completion
from stoploss.incidents.facts import Asked
from stoploss.lifecycle import ENDED, Lifecycle
from stoploss.registry import RegistryEntry
from stoploss.review.words import moment

ROLLOUT = "rollout"
OUT = frozenset({Lifecycle.ADOPTED, Lifecycle.COMPLETED})
SOON = timedelta(days=14)
"""How long before its day a baseline is shown where people look every day."""


@dataclass(frozen=True, slots=True)
class BaselineLine:
    """
    looked_at  when it was taken, or last looked at again
    due        the first day on which it holds no more
    """

    item: str
    value: str
    source: str
    looked_at: date
    due: date
    overdue: bool


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that people promised to do by a day."""

    what: str
    due: date
    overdue: bool


@dataclass(frozen=True, slots=True)
class Owed:
    baselines: tuple[BaselineLine, ...]
    duties: tuple[Duty, ...]


def owed(
    experiment: Experiment, lifecycle: str, asked: Sequence[Asked], entry: RegistryEntry | None, today: date
) -> Owed:
    """
    asked  accepted requests: a note may say that a baseline was looked at again
    entry  the registry's last word; None: not stored
    """
    said = () if entry is None else explanations(entry.unexplained_at)
    duty = (*said, *duties(experiment, lifecycle, entry.completion if entry else None, today))
    return Owed(tuple(_baselines(experiment, _rechecked(asked), today)), duty)


def _rechecked(asked: Sequence[Asked]) -> dict[str, date]:
    notes = [(one.at.date(), body_of(NoteTerms, one.request.body)) for one in asked if one.request.action == "note"]
    return {note.item: on for on, note in notes if note.item is not None}


def _baselines(experiment: Experiment, again: Mapping[str, date], today: date) -> Iterator[BaselineLine]:
    for one in experiment.spec.baselines:
        looked_at = again.get(one.item, one.taken)
        due = looked_at + timedelta(seconds=one.recheck_within)
        value = "" if one.value is None else str(one.value)
        yield BaselineLine(one.item, value, one.source, looked_at, due, today >= due)


def duties(experiment: Experiment, lifecycle: str, completion: Completion | None, today: date) -> Iterator[Duty]:
    """What is due, now or later: assessments of risks, and the review after a rollout until it is held."""
    if lifecycle in OUT and completion is not None and _awaits_review(completion):
        due = moment(completion.at).date() + timedelta(seconds=experiment.spec.success.reviewed_within_s)
        yield Duty("the post-implementation review", due, today >= due)
    if lifecycle in ENDED:
        return
    for risk in experiment.spec.risks:
        if risk.recheck is not None:
            yield Duty(f"a new assessment of the risk that {risk.harm}", risk.recheck, today >= risk.recheck)


def explanations(unexplained_at: Micros | None) -> tuple[Duty, ...]:
    """Why the glass was broken is owed from the day on which it was.

    unexplained_at  None: it was not, or somebody has said why
    """
    if unexplained_at is None:
        return ()
    return (Duty("a note that says why the glass was broken", moment(unexplained_at).date(), overdue=True),)


def _awaits_review(completion: Completion) -> bool:
    return completion.decision == ROLLOUT and completion.reviewed_at is None


def rechecks(experiment: Experiment, lifecycle: str, again: Mapping[str, date], today: date) -> Iterator[Duty]:
    """Baselines, assessments among them, that are overdue or will be soon; none once the experiment has ended.

    again  when an item was last looked at again
    """
    for one in _baselines(experiment, again, today):
        if lifecycle not in ENDED and one.due <= today + SOON:
            yield Duty(f"a new look at {one.item!r}", one.due, one.overdue)


def duty_text(duty: Duty) -> str:
    """
    >>> duty_text(Duty("the post-implementation review", date(2026, 3, 1), True))
    'the post-implementation review is overdue since 2026-03-01'
    """
    return f"{duty.what} is {'overdue since' if duty.overdue else 'due on'} {duty.due}"

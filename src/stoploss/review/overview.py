"""Status: where every experiment stands, from the registry alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from stoploss import registry
from stoploss.errors import InvalidExperiment
from stoploss.experiment import Experiment
from stoploss.policy.model import Policy
from stoploss.registry import RegistryEntry
from stoploss.review.owed import Duty, duties, duty_text, explanations, rechecks
from stoploss.review.words import moment
from stoploss.spec.checks import not_enforced_yet
from stoploss.spec.file import parse_experiment


@dataclass(frozen=True, slots=True)
class ExperimentStatus:
    """One experiment as the judge last wrote it.

    exposure      share of traffic that may get the treatment variant, 0 to 1
    recommendation  rollout, iterate or rollback; None: nothing yet, or the spec has no objective
    not_enforced  what the spec asks for and this version does not act on; None where the spec cannot be read
    spec_fault    why it cannot
    in_flight     requests of the treatment under way when it was stopped; None: not stopped, or not counted yet
    after_stop    those that began later
    people        what they have decided: approvals, amendments, completion, one phrase each
    harm_to_last_s  from the first harmful trace to the last exposure; where none began after the stop, to the stop;
                  None: no gate was tripped, or not counted yet
    open_incidents  ids of the commands whose incidents people have opened and not closed
    due           what people owe, with its day: reviews after a rollout, new looks at baselines, risks, assessments
    overdue       what of it is; overdue_since: the first day on which something was, None where nothing is
    ramp          where the ramp stands, in a sentence; None: nothing to say
    frozen        since when the whole line is stopped, by whom and why; None: it is not
    """

    experiment: str
    lifecycle: str
    run: int
    epoch: int
    exposure: float
    release_variant: str
    stopped_segments: tuple[str, ...]
    changed_at: datetime
    command_id: str | None
    recommendation: str | None
    not_enforced: tuple[str, ...] | None
    spec_fault: str | None
    in_flight: int | None = None
    after_stop: int | None = None
    harm_to_last_s: float | None = None
    people: tuple[str, ...] = ()
    open_incidents: tuple[str, ...] = ()
    due: tuple[str, ...] = ()
    overdue: tuple[str, ...] = ()
    overdue_since: date | None = None
    ramp: str | None = None
    frozen: str | None = None


def in_force(records: Iterable[tuple[bytes | None, bytes | None]]) -> list[RegistryEntry]:
    """The last entry of each key, by name; a tombstone (no value) removes its key.

    Raises WireError where an entry cannot be read.
    """
    last: dict[bytes | None, bytes | None] = {}
    for key, value in records:
        last[key] = value
    entries = [registry.decode(value) for value in last.values() if value is not None]
    return sorted(entries, key=lambda entry: entry.experiment)


def status_of(entry: RegistryEntry, today: date, policy: Policy | None = None) -> ExperimentStatus:
    """
    today   in UTC; what is due by it is told as overdue
    policy  the one in force; None: there is none, or it is not known
    """
    spec, fault = _spec(entry)
    owed = [] if spec is None else sorted(_owed(entry, spec, today), key=lambda duty: duty.due)
    return ExperimentStatus(
        experiment=entry.experiment,
        lifecycle=entry.lifecycle,
        run=entry.run,
        epoch=entry.epoch,
        exposure=entry.exposure,
        release_variant=entry.release_variant,
        stopped_segments=tuple(map(str, entry.stopped_segments)),
        changed_at=moment(entry.changed_at),
        command_id=entry.command_id,
        recommendation=entry.recommendation,
        not_enforced=None if spec is None else tuple(not_enforced_yet(spec, policy)),
        spec_fault=fault,
        in_flight=entry.in_flight,
        after_stop=entry.after_stop,
        harm_to_last_s=_harm_to_last_s(entry),
        people=tuple(_people(entry)),
        open_incidents=entry.open_incidents,
        due=tuple(map(duty_text, owed)),
        overdue=tuple(duty_text(duty) for duty in owed if duty.overdue),
        overdue_since=min((duty.due for duty in owed if duty.overdue), default=None),
        ramp=entry.ramp,
    )


def _owed(entry: RegistryEntry, spec: Experiment, today: date) -> Iterator[Duty]:
    yield from explanations(entry.unexplained_at)
    yield from duties(spec, entry.lifecycle, entry.completion, today)
    yield from rechecks(spec, entry.lifecycle, {one.item: moment(one.at).date() for one in entry.rechecked}, today)


def _people(entry: RegistryEntry) -> Iterator[str]:
    for approval in entry.approvals:
        until = f", until {moment(approval.expires_at):%Y-%m-%d}" if approval.expires_at is not None else ""
        verb = "approved" if approval.granted else "rejected"
        yield f"{verb} for {approval.domain} by {approval.by}{until}"
    yield from amended(entry)
    if entry.completion is not None:
        yield f"{entry.completion.decision} decided by {entry.completion.by}: {entry.completion.reason}"


def amended(entry: RegistryEntry) -> list[str]:
    """That what was preregistered has been changed since, in a phrase; empty where nobody has changed it."""
    if not entry.amendments:
        return []
    times, last = len(entry.amendments), entry.amendments[-1]
    return [f"amended {f'{times} times, last ' if times > 1 else ''}by {last.by}: {last.reason}"]


def _harm_to_last_s(entry: RegistryEntry) -> float | None:
    if entry.first_harm_at is None or entry.last_exposure_at is None:
        return None
    return (entry.last_exposure_at - entry.first_harm_at) / 1_000_000


def _spec(entry: RegistryEntry) -> tuple[Experiment | None, str | None]:
    """A spec that another version accepted must not keep people from seeing where the experiment stands."""
    try:
        return parse_experiment(entry.spec, f"the spec of {entry.experiment!r}"), None
    except InvalidExperiment as error:
        return None, str(error)

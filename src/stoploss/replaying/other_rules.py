"""What other rules would have made of a recorded experiment: per rule, when it would have spoken, and what of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from stoploss.commands import Micros
from stoploss.ledger import JudgeVersion
from stoploss.replay import Comparison, Recorded, Reproduction, judged
from stoploss.replaying.acts import LOWERS, Act, ended_at
from stoploss.replaying.side_by_side import Run, SideBySide
from stoploss.spec.file import parsed
from stoploss.state import PartitionState

MICROS_PER_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Word:
    """What a rule said and what was done: at which time, hours into the run."""

    at: datetime
    hours: float
    action: str
    sentence: str


@dataclass(frozen=True, slots=True)
class RuleCompared:
    """A rule's stream, or a person, in a run; None: it did not speak.

    change  "same", "sooner", "later", "otherwise" (at the same time, another action), "new stop", "new alarm",
            "not stopped", "no alarm", or "over by then": the other's run had ended before
    exposures_saved  requests of the treatment that the other's stop would have spared
    exposures_added  about as many more would the treatment have served, had the recorded stop not come
    """

    rule: str
    stream: str
    recorded: Word | None
    other: Word | None
    change: str
    exposures_saved: int
    exposures_added: int


@dataclass(frozen=True, slots=True)
class RunCompared:
    """A recorded run under both.

    recorded_hours  until the recorded run took the treatment away, or to its last entry: nothing is known beyond
    exposures       requests that the treatment served
    recorded_stop, other_stop  hours into the run; None: no stop of everybody
    """

    run: int
    began_at: datetime
    recorded_hours: float
    exposures: int
    recorded_stop: float | None
    other_stop: float | None
    rules: tuple[RuleCompared, ...]

    @property
    def exposures_saved(self) -> int:
        return sum(rule.exposures_saved for rule in self.rules)

    @property
    def exposures_added(self) -> int:
        return sum(rule.exposures_added for rule in self.rules)

    @property
    def new_stops(self) -> tuple[RuleCompared, ...]:
        """Stops that the recorded run did not have: false ones, where the treatment did no harm."""
        return tuple(rule for rule in self.rules if rule.change == "new stop")


@dataclass(frozen=True, slots=True)
class OtherRules:
    """An experiment under its recorded spec and another."""

    experiment: str
    recorded_spec: str
    other_spec: str
    runs: tuple[RunCompared, ...]


def under_other_rules(
    recorded: Recorded, text: str, file: str, running: JudgeVersion | None, control_topic: str
) -> tuple[Reproduction, OtherRules]:
    """Folds the whole ledger by both specs, and says too whether this version reproduces the recorded journal.

    Raises InvalidExperiment where the other spec asks for what was not recorded.
    """
    state = PartitionState(recorded.partition)
    comparison = Comparison(recorded, running)
    both = SideBySide(recorded.experiment, state, text, file)
    for entry, outputs in judged(recorded.entries, state, control_topic):
        comparison.take(entry, outputs)
        both.take(entry, outputs)
    known = state.experiments.get(recorded.experiment)
    compared = tuple(_compared(run) for run in both.runs)
    in_force = known.spec_hash if known else ""
    return comparison.result(), OtherRules(recorded.experiment, in_force, parsed(text).spec_hash, compared)


def _compared(run: Run) -> RunCompared:
    stopped, would = ended_at(run.recorded), ended_at(run.other)
    return RunCompared(
        run=run.number,
        began_at=_time(run.began_at),
        recorded_hours=_hours(run, stopped or run.until),
        exposures=run.treated,
        recorded_stop=None if stopped is None else _hours(run, stopped),
        other_stop=None if would is None else _hours(run, would),
        rules=tuple(_rules(run)),
    )


def _rules(run: Run) -> Iterator[RuleCompared]:
    """Each rule's stream once, by its first word in either, in the order of time."""
    recorded, other = _first(run.recorded), _first(run.other)
    by_time = sorted((*run.recorded, *run.other), key=lambda act: act.at)
    for key in dict.fromkeys((act.rule, act.stream) for act in by_time):
        before, after = recorded.get(key), other.get(key)
        yield RuleCompared(
            rule=key[0],
            stream=key[1],
            recorded=None if before is None else _word(run, run.recorded[before]),
            other=None if after is None else _word(run, run.other[after]),
            change=_change(run, before, after),
            exposures_saved=0 if after is None else round(run.saved.get(after, 0.0)),
            exposures_added=0 if before is None else round(run.added.get(before, 0.0)),
        )


def _first(acts: Sequence[Act]) -> dict[tuple[str, str], int]:
    """Place of the first act of each stream."""
    places: dict[tuple[str, str], int] = {}
    for place, act in enumerate(acts):
        places.setdefault((act.rule, act.stream), place)
    return places


def _change(run: Run, before: int | None, after: int | None) -> str:
    if before is None:
        assert after is not None
        return "new stop" if run.other[after].action in LOWERS else "new alarm"
    recorded = run.recorded[before]
    if after is None:
        over = ended_at(run.other)
        if over is not None and over <= recorded.at:
            return "over by then"
        return "not stopped" if recorded.action in LOWERS else "no alarm"
    other = run.other[after]
    if other.at != recorded.at:
        return "sooner" if other.at < recorded.at else "later"
    return "same" if other.action == recorded.action else "otherwise"


def _word(run: Run, act: Act) -> Word:
    return Word(_time(act.at), _hours(run, act.at), act.action, act.sentence)


def _hours(run: Run, at: Micros) -> float:
    return (at - run.began_at) / MICROS_PER_HOUR


def _time(at: Micros) -> datetime:
    return datetime.fromtimestamp(at / 1e6, UTC)

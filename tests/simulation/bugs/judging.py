"""Bugs of the judge itself: where it goes on after a restart, when it judges, what it believes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from stoploss import decisions, monitor, ramping, snapshot
from stoploss.ledger import Request
from stoploss.lifecycle import LATCHED, Lifecycle
from stoploss.running import RunningMetrics
from streams import partition_judge
from streams.batches import Record
from tests.simulation.bugs.planting import Bug, replaced


def says_everything_again() -> AbstractContextManager[None]:
    """After a restart nothing is suppressed."""
    return replaced(partition_judge.PartitionJudge, "_published", lambda *_: False)


def judges_at_the_end_of_a_fetch() -> AbstractContextManager[None]:
    """What was fetched together is judged together, so ids and journal depend on the fetch."""
    judge = partition_judge.PartitionJudge.judge

    def together(self: Any, records: Sequence[Record]) -> None:
        if len(records) > 1:
            last = records[-1].timestamp_ms
            records = [record._replace(timestamp_ms=last) for record in records]
        judge(self, records)

    return replaced(partition_judge.PartitionJudge, "judge", together)


def trusts_any_snapshot() -> AbstractContextManager[None]:
    """The MAC of a snapshot is not looked at."""

    class Trusting:
        compare_digest = staticmethod(lambda a, b: True)
        new = staticmethod(snapshot.hmac.new)

    return replaced(snapshot, "hmac", Trusting)


def resumes_by_itself() -> AbstractContextManager[None]:
    """What was stopped is exposed again, and nobody has asked for it."""
    tick = monitor._tick_run

    def eager(partition: Any, state: Any, measure: bool, out: Any) -> None:
        tick(partition, state, measure, out)
        if state.lifecycle in LATCHED:
            asked = Request("", state.name, "resume", "the monitor", "", 0)
            monitor._begin_run(state, asked, "the monitor thinks that it is over", out)

    return replaced(monitor, "_tick_run", eager)


def skips_a_stage() -> AbstractContextManager[None]:
    """The ramp goes to its last stage at once."""
    advance = ramping._advance

    def leap(state: Any, _: float, out: Any) -> None:
        advance(state, state.experiment.spec.ramp.shares[-1], out)

    return replaced(ramping, "_advance", leap)


def lets_harm_go_on_when_completed() -> AbstractContextManager[None]:
    """What was rolled out is served on, whatever a gate finds."""
    may = decisions.strengthens
    return replaced(decisions, "strengthens", lambda action, state: state != Lifecycle.ADOPTED and may(action, state))


def goes_back_with_the_clock() -> AbstractContextManager[None]:
    """Ledger time is what the broker's clock says, even where that was set back."""
    return replaced(monitor, "max", lambda _, at: at)


def forgets_what_people_plot() -> AbstractContextManager[None]:
    """A restart loses what no verdict hangs on: neither journal nor commands say so."""
    restore = partition_judge.PartitionJudge.restore

    def forgetful(self: Any) -> int:
        offset = restore(self)
        for state in self._state.experiments.values():
            state.current.metrics = RunningMetrics()
        return offset

    return replaced(partition_judge.PartitionJudge, "restore", forgetful)


BUGS: tuple[Bug, ...] = (
    says_everything_again,
    forgets_what_people_plot,
    judges_at_the_end_of_a_fetch,
    trusts_any_snapshot,
    resumes_by_itself,
    skips_a_stage,
    lets_harm_go_on_when_completed,
    goes_back_with_the_clock,
)

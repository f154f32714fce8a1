"""Unresolved: too many outcomes cannot be attached to a trace: malformed, untimely, or without one.

Counted by the joiner for each partition of its topics, for all experiments together, for what cannot be attached cannot
be attributed either. A bare outcome counts once it comes back from the resolver, with its trace or without. The counts
begin anew with each worker, so differences are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from stoploss import topics
from stoploss.commands import Action, Evidence, round_significant
from stoploss.ledger import AckOverdue, AckReceived, SourceStatus
from stoploss.rules.news import Newsworthy
from stoploss.rules.rate_batch import RateBatch
from stoploss.rules.rows import Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.spec.health import Unresolved

OUTCOMES = tuple(topics.TOPICS[name].name for name in ("outcomes", "outcomes_resolved"))


@dataclass(slots=True)
class UnresolvedState(Newsworthy):
    """told: by source partition, what its last status said: outcomes attached, and not attached."""

    told: dict[str, list[int]] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=lambda: [0, 0])
    batch: RateBatch = field(default_factory=RateBatch)


@dataclass(frozen=True, slots=True)
class UnresolvedRule:
    most: float
    response: Response
    kind: str = field(default="unresolved", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "unresolved"

    @classmethod
    def of(cls, unresolved: Unresolved) -> UnresolvedRule:
        action = Action.PAUSE if unresolved.do == "pause" else None
        return cls(unresolved.max, Response(action, Severity.HOLD, hold=True))

    def initial(self) -> UnresolvedState:
        return UnresolvedState()

    def hear(self, state: UnresolvedState, fact: SourceStatus | AckReceived | AckOverdue, moment: Moment) -> None:
        if not isinstance(fact, SourceStatus) or fact.source.topic.rpartition(".")[2] not in OUTCOMES:
            return
        now = [fact.valid, fact.rejected + fact.quarantined]
        source = f"{fact.source.topic}/{fact.source.partition}"
        for place, more in enumerate(grown(state.told.get(source), now)):
            state.waiting[place] += more
        state.told[source] = now

    def fold(self, state: UnresolvedState, rows: Rows, moment: Moment) -> None:
        """What became a row was attached."""

    def tick(self, state: UnresolvedState, moment: Moment) -> None:
        state.batch.renew()
        attached, lost = state.waiting
        state.batch.add(lost, attached + lost)
        state.waiting = [0, 0]

    def close_epoch(self, state: UnresolvedState, moment: Moment) -> None:
        """Outcomes have no share."""

    def judge(self, state: UnresolvedState, moment: Moment) -> Iterator[Verdict]:
        evidence = partial(self._evidence, state)
        if state.batch.trials and state.batch.exceeds(self.most):
            yield Verdict("outcomes", Outcome.BREACH, Reason.OUTCOMES_UNRESOLVED, evidence, self.response)
        else:
            yield Verdict("outcomes", Outcome.OK, Reason.STEADY, evidence)

    def _evidence(self, state: UnresolvedState) -> Evidence:
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric="outcomes",
            statistic=f"share of {state.batch.trials:,} outcomes that could not be attached to a trace",
            observed=round_significant(state.batch.rate),
            bound=self.most,
        )


def grown(before: list[int] | None, now: list[int]) -> list[int]:
    """What counts have grown by: nothing at first sight, and everything where a new worker counts from nothing.

    >>> grown(None, [5]), grown([5], [7]), grown([7], [2])
    ([0], [2], [2])
    """
    if before is None:
        return [0] * len(now)
    fresh = any(after < earlier for earlier, after in zip(before, now, strict=True))
    return now if fresh else [after - earlier for earlier, after in zip(before, now, strict=True)]

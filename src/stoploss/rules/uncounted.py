"""Uncounted: what is spent that no budget sees, since the request does not say it.

A model without a price, or a client that reports no usage, leaves `cost_usd` or the tokens empty. A guardrail compares
the rest, and a budget counts nothing at all: an arm of which nobody knows what it costs must not look cheap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss.commands import Evidence, round_significant
from stoploss.experiment import Experiment
from stoploss.metrics import MISSING
from stoploss.rules.news import Newsworthy
from stoploss.rules.rate_batch import RateBatch
from stoploss.rules.rows import CONTROL, TREATMENT, Mask, Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict

COST = "cost_usd"
SPENT = (COST, "input_tokens", "output_tokens")
MOST = 0.05
"""Share of the requests of an arm: some end before anybody counts; those that failed are not asked."""
ARMS = ((CONTROL, "control"), (TREATMENT, "treatment"))
RESPONSE = Response(None, Severity.HOLD, hold=True)


@dataclass(slots=True)
class UncountedState(Newsworthy):
    """By metric and arm: requests without the value, and all. waiting: those since the last tick, as (without, all)."""

    batches: dict[str, list[RateBatch]] = field(default_factory=dict)
    waiting: dict[str, list[list[int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Uncounted:
    """metrics: of what is spent, those that a budget, a guardrail or the objective of the spec reads."""

    metrics: tuple[str, ...]
    kind: str = field(default="uncounted", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "uncounted"

    @classmethod
    def of(cls, experiment: Experiment) -> Uncounted:
        spec = experiment.spec
        read = {*(budget.watched for budget in spec.budgets), *(guardrail.metric for guardrail in spec.guardrails)}
        if spec.objective is not None and spec.objective.lambda_cost:
            read.add(COST)
        return cls(tuple(name for name in SPENT if name in read))

    def initial(self) -> UncountedState:
        batches = {name: [RateBatch() for _ in ARMS] for name in self.metrics}
        return UncountedState(batches, {name: [[0, 0] for _ in ARMS] for name in self.metrics})

    def fold(self, state: UncountedState, rows: Rows, moment: Moment) -> None:
        if not rows.exposure:
            return
        asked = _answered(rows)
        for name in self.metrics:
            x = rows.metrics.get(name)
            without = asked if x is None else asked & (x == MISSING)
            for arm, _ in ARMS:
                waiting = state.waiting[name][arm]
                waiting[0] += int(np.count_nonzero(without & (rows.arm == arm)))
                waiting[1] += int(np.count_nonzero(asked & (rows.arm == arm)))

    def tick(self, state: UncountedState, moment: Moment) -> None:
        for name in self.metrics:
            for arm, _ in ARMS:
                batch = state.batches[name][arm]
                batch.renew()
                batch.add(*state.waiting[name][arm])
                state.waiting[name][arm] = [0, 0]

    def close_epoch(self, state: UncountedState, moment: Moment) -> None:
        """What is spent is spent, whatever the share."""

    def judge(self, state: UncountedState, moment: Moment) -> Iterator[Verdict]:
        for name in self.metrics:
            for arm, arm_name in ARMS:
                yield self._verdict(state.batches[name][arm], name, arm, arm_name)

    def _verdict(self, batch: RateBatch, metric: str, arm: int, arm_name: str) -> Verdict:
        statistic = f"requests of the {arm_name} arm without {metric}"
        evidence = partial(self._evidence, batch, metric, statistic, arm)
        if batch.trials and batch.exceeds(MOST):
            return Verdict(statistic, Outcome.BREACH, Reason.SPENT_UNCOUNTED, evidence, RESPONSE)
        return Verdict(statistic, Outcome.OK, Reason.STEADY, evidence)

    def _evidence(self, batch: RateBatch, metric: str, statistic: str, arm: int) -> Evidence:
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=metric,
            statistic=statistic,
            observed=round_significant(batch.rate),
            bound=MOST,
            n_control=batch.trials if arm == CONTROL else 0,
            n_treatment=batch.trials if arm == TREATMENT else 0,
        )


def _answered(rows: Rows) -> Mask:
    """Rows of requests that are measured and did not fail: one that did may have no usage to tell of."""
    failed = rows.metrics.get("error_rate")
    return np.ones(rows.size, np.bool_) if failed is None else failed == 0

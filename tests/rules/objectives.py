"""Traffic with scores, costs and harm events, and timelines of experiments that weigh them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stoploss.metrics import MISSING
from stoploss.rules.objective_reference import REFERENCE_UNITS
from stoploss.rules.objective_totals import rows_of
from stoploss.rules.rows import Moment
from stoploss.rules.verdict import Verdict
from tests.timelines import Timeline, Traces, spec, traces

MICRO = 1_000_000
OBJECTIVE = """
objective:
  quality: {score: resolved}
  risk: [{event: refusal, weight: 1}, {event: complaint, weight: 5}]
  lambdaCost: 0.2
  lambdaRisk: 0.5
  indifference: 0.005
"""


@dataclass(frozen=True)
class Arms:
    """What each arm does: (control, treatment)."""

    resolved: tuple[float, float] = (0.70, 0.70)
    cost_usd: tuple[float, float] = (0.004, 0.004)
    refusals: tuple[float, float] = (0.03, 0.03)
    judged: float = 1.0


ALIKE = Arms()


def scored(
    n: int, seed: int, arms: Arms = ALIKE, users: int = 4_000, population: int = 0, share: float = 0.5
) -> Traces:
    """Seeded traffic; each arm's users come back, and the users of a population are the same for every seed."""
    some = traces(n, seed=seed, users=users, population=population, share=share)
    rng, arm = np.random.default_rng(1_000 + seed), some.variant.astype(np.int64)
    some.metrics["resolved"] = (rng.random(n) < np.array(arms.resolved)[arm]) * MICRO
    some.metrics["resolved"][rng.random(n) >= arms.judged] = MISSING
    some.metrics["cost_usd"] = np.rint(np.array(arms.cost_usd)[arm] * rng.uniform(0.2, 1.8, n) * 1e9).astype(np.int64)
    some.metrics["refusal_rate"] = (rng.random(n) < np.array(arms.refusals)[arm]).astype(np.int64)
    return some


def outcomes(some: Traces, name: str, values: np.ndarray) -> Traces:
    """Late facts about traces: one outcome each, of one name."""
    return Traces(some.variant, some.unit, {name: values})


def begun(objective: str = OBJECTIVE, extra: str = "", exposure: float = 0.5) -> Timeline:
    timeline = Timeline(spec(objective + extra)).started(exposure)
    timeline.seconds(1)
    return timeline


def part(some: Traces, rows: np.ndarray) -> Traces:
    return Traces(some.variant[rows], some.unit[rows], {name: x[rows] for name, x in some.metrics.items()})


def last_of_reference(some: Traces) -> int:
    """The row of control's 1,000th unit."""
    control = np.flatnonzero(some.variant == 0)
    _, first = np.unique(some.unit[control], return_index=True)
    return int(control[np.sort(first)[REFERENCE_UNITS - 1]])


def with_reference(timeline: Timeline, arms: Arms = ALIKE) -> Timeline:
    """After exactly the traffic against which quality and cost are measured: nothing is tested yet."""
    some = scored(4_000, seed=900, arms=arms, users=100_000, population=9)
    timeline.traces(part(some, np.arange(last_of_reference(some) + 1)))
    timeline.seconds(1)
    state = timeline.it.current.rules["objective"]
    assert state.reference.frozen
    assert rows_of(state.run.whole().exposed) == (0, 0)
    return timeline


def asked(timeline: Timeline) -> dict[str, Verdict]:
    """What the objective says at the next tick, by stream."""
    timeline.seconds(1)
    [rule] = [rule for rule in timeline.it.rules if rule.kind == "objective"]
    moment = Moment(timeline.at, True, True, 0.5, timeline.it.current.dimensions, ("",))
    return {verdict.stream: verdict for verdict in rule.judge(timeline.it.current.rules["objective"], moment)}

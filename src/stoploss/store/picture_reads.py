"""What pictures are drawn from: everybody's numbers of a run over time, thinned to what can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from clickhouse_connect.driver.client import Client

from stoploss.store.query import Query

MOST_POINTS = 300


@dataclass(frozen=True, slots=True)
class SaidPoint:
    at: datetime
    rule: str
    metric: str | None
    observed: float | None
    bound: float | None
    estimate: float | None
    lower: float | None
    upper: float | None
    margin: float | None


@dataclass(frozen=True, slots=True)
class ArmPoint:
    at: datetime
    variant: str
    metric: str
    n: int
    mean: float | None


_THINNED = """
WHERE place % greatest(1, intDiv(total, {points:Int64})) = 0 OR place = total
ORDER BY at
"""

# Everybody's numbers only: a picture never shows a segment, so there is no small cell to hide.
SAID = Query(
    SaidPoint,
    f"""
SELECT at, rule, metric, observed, bound, estimate, lower, upper, margin FROM (
    SELECT at, rule, metric, observed, bound, estimate, lower, upper, margin,
        row_number() OVER (PARTITION BY rule, bound, margin ORDER BY at, offset) AS place,
        count() OVER (PARTITION BY rule, bound, margin) AS total
    FROM measures_verdicts_v
    WHERE experiment = {{experiment:String}} AND run = {{run:Int32}} AND isNull(segment_dimension)
        AND (startsWith(rule, 'guardrail[') OR startsWith(rule, 'budget['))
)
{_THINNED}
""",
)

ARMS = Query(
    ArmPoint,
    f"""
SELECT at, variant, metric, n, mean FROM (
    SELECT at, variant, metric, n, mean,
        row_number() OVER (PARTITION BY variant, metric ORDER BY at, offset) AS place,
        count() OVER (PARTITION BY variant, metric) AS total
    FROM measures_arms_v
    WHERE experiment = {{experiment:String}} AND run = {{run:Int32}} AND isNull(segment_dimension)
        AND has({{metrics:Array(String)}}, metric)
)
{_THINNED}
""",
)


def points(client: Client, experiment: str, run: int, metrics: Sequence[str]) -> tuple[list[SaidPoint], list[ArmPoint]]:
    """What the guardrails and budgets of a run said, and the means of the named metrics in each arm."""
    where = {"experiment": experiment, "run": run, "points": MOST_POINTS}
    return SAID.run(client, **where), ARMS.run(client, **where, metrics=list(metrics))

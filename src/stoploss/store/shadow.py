"""Shadow runs beside the live requests that they copied: pairs, never a pool with what users were served.

A shadow run names its live request in the attribute `shadow_of`. A pair whose two ends lie further apart than an age is
stale: the copy met another world (a newer index, a cache that was warm), and is left out of all numbers but its count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from stoploss.store.query import Query
from stoploss.suppression import MINIMUM_CELL


@dataclass(frozen=True, slots=True)
class ShadowRuns:
    """How many shadow runs of an experiment are stored, and why some of them are in no pair.

    pairs     with a live request, and fresh
    stale     with one that ended too long before or after
    unpaired  without one: it names none, or none that is stored and was judged
    """

    runs: int
    pairs: int
    stale: int
    unpaired: int


@dataclass(frozen=True, slots=True)
class ShadowMetric:
    """A metric over the pairs in which both sides have it, in its own unit; difference: shadow minus live.

    hidden  there are too few pairs for people to read their means, which are None
    """

    metric: str
    pairs: int
    live: float | None
    shadow: float | None
    difference: float | None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class ShadowReport:
    runs: ShadowRuns
    metrics: tuple[ShadowMetric, ...]


# A live request counts once, the first that was judged; a shadow run once by its own id.
_PAIRED = """
SELECT shadow.*, live.trace_id AS live_id,
    abs(toUnixTimestamp64Micro(shadow.at) - toUnixTimestamp64Micro(live.at)) <= {max_age_us:Int64} AS is_fresh,
    live.latency_ms AS live_latency_ms, live.time_to_first_token_ms AS live_time_to_first_token_ms,
    live.input_tokens AS live_input_tokens, live.output_tokens AS live_output_tokens, live.cost_usd AS live_cost_usd,
    live.error_type AS live_error_type
FROM (
    SELECT trace_id, at, latency_ms, time_to_first_token_ms, input_tokens, output_tokens, cost_usd, error_type,
        shadow_of
    FROM shadow_traces_shown_v
    WHERE arrayExists(a -> a.experiment = {experiment:String}, assignments) AND quarantined IS NULL
    ORDER BY broker_at, topic_uuid, partition, offset LIMIT 1 BY trace_id
) AS shadow
LEFT JOIN (
    SELECT trace_id, at, latency_ms, time_to_first_token_ms, input_tokens, output_tokens, cost_usd, error_type
    FROM traces_shown_v
    WHERE quarantined IS NULL AND trace_id IN (
        SELECT shadow_of FROM shadow_traces_shown_v
        WHERE arrayExists(a -> a.experiment = {experiment:String}, assignments)
    )
    ORDER BY broker_at, topic_uuid, partition, offset LIMIT 1 BY trace_id
) AS live ON live.trace_id = shadow.shadow_of
"""

RUNS = Query(
    ShadowRuns,
    f"""
SELECT toInt64(count()) AS runs, toInt64(countIf(live_id != '' AND is_fresh)) AS pairs,
    toInt64(countIf(live_id != '' AND NOT is_fresh)) AS stale, toInt64(countIf(live_id = '')) AS unpaired
FROM ({_PAIRED})
""",
)

# Of each metric, its value in a live request and in its shadow run.
_SIDES = {
    "latency_ms": ("live_latency_ms", "latency_ms"),
    "time_to_first_token_ms": ("live_time_to_first_token_ms", "time_to_first_token_ms"),
    "input_tokens": ("live_input_tokens", "input_tokens"),
    "output_tokens": ("live_output_tokens", "output_tokens"),
    "cost_usd": ("live_cost_usd", "cost_usd"),
    "error_rate": ("notEmpty(ifNull(live_error_type, ''))", "notEmpty(ifNull(error_type, ''))"),
}


def _compared(metric: str, live: str, shadow: str) -> str:
    """How many fresh pairs have it on both sides, and the means of those."""
    both = f"live_id != '' AND is_fresh AND isNotNull({live}) AND isNotNull({shadow})"
    means = (f"ifNull(avgIf(toFloat64({side}), {both}), 0.)" for side in (live, shadow))
    return f"('{metric}', toInt64(countIf({both})), {', '.join(means)})"


@dataclass(frozen=True, slots=True)
class _Compared:
    """(metric, pairs, mean live, mean shadow) of each."""

    metrics: Sequence[tuple[str, int, float, float]]


METRICS = Query(
    _Compared,
    f"""
SELECT [{", ".join(_compared(metric, *sides) for metric, sides in _SIDES.items())}] AS metrics
FROM ({_PAIRED})
""",
)


def report(client: Client, experiment: str, max_age_s: float, minimum_cell: int = MINIMUM_CELL) -> ShadowReport:
    """What the stored shadow runs of an experiment show; pairs further apart than max_age_s count as stale.

    minimum_cell  pairs below which a metric's means are hidden: the mean of one pair is what one request was
    """
    asked = {"experiment": experiment, "max_age_us": round(max_age_s * 1_000_000)}
    [runs], [found] = RUNS.run(client, **asked), METRICS.run(client, **asked)
    metrics = (_metric(*one, minimum_cell) for one in found.metrics if one[1])
    return ShadowReport(runs, tuple(metrics))


def _metric(name: str, pairs: int, live: float, shadow: float, minimum_cell: int) -> ShadowMetric:
    if pairs < minimum_cell:
        return ShadowMetric(name, pairs, None, None, None, hidden=True)
    return ShadowMetric(name, pairs, live, shadow, shadow - live)

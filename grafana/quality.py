"""The Data quality dashboard: what could not be read, what was not judged, and what is missing in what was."""

from __future__ import annotations

from grafana.panel import BY_MINUTES, GREEN, RED, ROWS, SHARE, TRACES, YELLOW, Page, Panel, columns
from grafana.panels import DEAD_LETTERS


def _share(condition: str) -> str:
    """Of a service's traces."""
    return f"sumIf(m.traces, {condition}) / traces"


BY_SERVICE = (
    Panel(
        "Traces by service",
        "table",
        "Shares of each service's traces that carry no variant, latency, cost or tokens, or that were stored but not "
        "judged. No variant: its flag evaluation is not recorded. No cost: its model has no price.",
        f"""
SELECT service, sum(m.traces) AS traces, {_share("bitTest(lacks, 0)")} AS no_variant,
    {_share("bitTest(lacks, 1)")} AS no_latency, {_share("bitTest(lacks, 2)")} AS no_cost,
    {_share("bitTest(lacks, 3)")} AS no_tokens, {_share("fate != 'judged'")} AS quarantined
FROM trace_minutes_v AS m WHERE $__timeFilter(minute) GROUP BY service ORDER BY traces DESC, service""",
        columns(
            "service:text traces:number no_variant:number no_latency:number no_cost:number no_tokens:number "
            "quarantined:number"
        ),
        unit=SHARE,
        width=24,
        steps=((None, GREEN), (0.01, YELLOW), (0.1, RED)),
        units={"traces": TRACES},
        coloured=("no_variant", "no_latency", "no_cost", "no_tokens", "quarantined"),
    ),
    Panel(
        "Judged and not judged",
        "timeseries",
        "Traces by what became of them. 'judged' is normal; each other name says why a trace was only stored.",
        f"""
SELECT {BY_MINUTES} AS time, fate, sum(m.traces) AS traces
FROM trace_minutes_v AS m WHERE $__timeFilter(minute) GROUP BY time, fate ORDER BY time, fate""",
        columns("time:time fate:text traces:number"),
        unit=TRACES,
        bars=True,
    ),
    Panel(
        "On the way to Kafka",
        "timeseries",
        "From the end of a request to the broker, the slowest twentieth of each service, to a fifth of it. Rising: a "
        "sender batches too long, or its clock is off. Negative: its clock is ahead.",
        f"""
SELECT time, service, sign(slow) * exp2(abs(slow) / 4) / 1000 AS seconds FROM (
    SELECT {BY_MINUTES} AS time, service, quantileExactWeighted(0.95)(delay, d.traces) AS slow
    FROM trace_delays_v AS d WHERE $__timeFilter(minute) GROUP BY time, service
) ORDER BY time, service""",
        columns("time:time service:text seconds:number"),
        unit="s",
        steps=((None, GREEN), (10, YELLOW), (60, RED)),
    ),
    Panel(
        "Coverage: rows by metric",
        "table",
        "Rows of the newest run that each metric stands on, as a part of those of the best covered one. Far below 1: "
        "the metric is missing in most traces, and its guardrail learns slowly.",
        """
SELECT experiment, metric, rows, rows / max(rows) OVER (PARTITION BY experiment) AS coverage FROM (
    SELECT experiment, metric, sum(n) AS rows FROM (
        SELECT experiment, metric, variant, m.n AS n FROM measures_arms_copies_v AS m
        WHERE isNull(segment_dimension) AND isNotNull(m.n) AND $__timeFilter(at)
        ORDER BY run DESC, at DESC, offset DESC LIMIT 1 BY experiment, metric, variant
    ) GROUP BY experiment, metric
) ORDER BY coverage, experiment, metric""",
        columns("experiment:text metric:text rows:number coverage:number"),
        unit=ROWS,
        width=24,
        steps=((None, RED), (0.2, YELLOW), (0.8, GREEN)),
        units={"coverage": SHARE},
        coloured=("coverage",),
        links=("experiment",),
    ),
)

PAGE = Page(
    "quality",
    "Data quality",
    "What could not be read, what was not judged, what is missing in what was, and how late it comes.",
    {"Traces": BY_SERVICE, "Dead letters": DEAD_LETTERS},
    span="6h",
)

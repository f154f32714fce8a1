"""The Data quality dashboard: what could not be read, what was not judged, and what is missing in what was."""

from __future__ import annotations

from grafana.panel import GREEN, RED, SHARE, YELLOW, Page, Panel, columns
from grafana.panels import DEAD_LETTERS

TRACES = (
    Panel(
        "Traces by service",
        "table",
        "Shares of each service's traces that carry no variant, latency, cost or tokens, or that were stored but not "
        "judged. No variant: its flag evaluation is not recorded. No cost: its model has no price.",
        """
SELECT service, count() AS traces, countIf(empty(assignments)) / traces AS no_variant,
    countIf(isNull(latency_ms)) / traces AS no_latency, countIf(isNull(cost_usd)) / traces AS no_cost,
    countIf(isNull(output_tokens)) / traces AS no_tokens, countIf(isNotNull(t.quarantined)) / traces AS quarantined
FROM traces_shown_v AS t WHERE $__timeFilter(broker_at) GROUP BY service ORDER BY traces DESC, service""",
        columns(
            "service:text traces:number no_variant:number no_latency:number no_cost:number no_tokens:number "
            "quarantined:number"
        ),
        unit=SHARE,
        width=24,
        steps=((None, GREEN), (0.01, YELLOW), (0.1, RED)),
        units={"traces": "none"},
        coloured=("no_variant", "no_latency", "no_cost", "no_tokens", "quarantined"),
    ),
    Panel(
        "Judged and not judged",
        "timeseries",
        "Traces by what became of them. 'judged' is normal; each other name says why a trace was only stored.",
        """
SELECT $__timeInterval(broker_at) AS time, ifNull(quarantined, 'judged') AS fate, count() AS traces
FROM traces_shown_v WHERE $__timeFilter(broker_at) GROUP BY time, fate ORDER BY time, fate""",
        columns("time:time fate:text traces:number"),
        unit="suffix: traces",
        bars=True,
    ),
    Panel(
        "On the way to Kafka",
        "timeseries",
        "From the end of a request to the broker, the slowest twentieth of each service. Rising: a sender batches too "
        "long, or its clock is off. Negative: its clock is ahead.",
        """
SELECT $__timeInterval(broker_at) AS time, service,
    quantileExact(0.95)(dateDiff('millisecond', t.at, broker_at)) / 1000 AS seconds
FROM traces_shown_v AS t WHERE isNull(quarantined) AND $__timeFilter(broker_at)
GROUP BY time, service ORDER BY time, service""",
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
        unit="none",
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
    {"Traces": TRACES, "Dead letters": DEAD_LETTERS},
    span="6h",
)

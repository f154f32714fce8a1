"""The Segments dashboard: where harm sits. Segments of too few rows show no numbers."""

from __future__ import annotations

from grafana.choices import DIMENSION, EXPERIMENT, METRIC
from grafana.panel import GREEN, HERE, LAST_RUN, RED, ROWS, TIMES, VERDICTS, YELLOW, Page, Panel, columns

CHOSEN = "segment_dimension = ${dimension:sqlstring}"
NEWEST = f"""(
    SELECT assumeNotNull(segment_value) AS segment, assumeNotNull(v.metric) AS metric, verdict, reason,
        v.estimate / nullIf(v.margin, 0) AS margin_used, n_control, n_treatment, hidden
    FROM measures_verdicts_copies_v AS v
    WHERE {HERE} AND {LAST_RUN} AND {CHOSEN} AND isNotNull(v.metric) AND $__timeFilter(at)
    ORDER BY at DESC, offset DESC, verdict = 'breach' DESC LIMIT 1 BY segment, metric
)"""

WHERE_IT_IS = (
    Panel(
        "Margin used: $dimension by guardrail",
        "table",
        "A heat map: each cell is the effect in one segment as a part of the margin. Red from 1×: that segment alone "
        "is stopped once the evidence holds. An empty cell is too small to show, or would tell of one that is.",
        f"SELECT segment, metric, margin_used FROM {NEWEST} ORDER BY segment, metric",
        columns("segment:text metric:text margin_used:number"),
        unit=TIMES,
        width=24,
        height=12,
        steps=((None, GREEN), (0.5, YELLOW), (1, RED)),
        matrix=("segment", "metric", "margin_used"),
    ),
    Panel(
        "Verdicts by $dimension",
        "table",
        "What the rules say of each segment. Below a floor: wait for rows, or choose a coarser dimension.",
        f"""
SELECT segment, metric, verdict, reason, n_control, n_treatment FROM {NEWEST}
ORDER BY verdict = 'breach' DESC, segment, metric""",
        columns("segment:text metric:text verdict:text reason:text n_control:number n_treatment:number"),
        unit=ROWS,
        colours=VERDICTS,
        coloured=("verdict",),
    ),
    Panel(
        "Served or stopped: $dimension",
        "table",
        "Users of a stopped segment get control since the time given, until a person resumes the experiment. Ask what "
        "is special about it; the others go on.",
        f"""
SELECT coalesce(seen.segment, stopped.value) AS segment, if(isNull(stopped.since), 'served', 'stopped') AS state,
    stopped.since AS since
FROM (
    SELECT DISTINCT assumeNotNull(segment_value) AS segment FROM measures_arms_copies_v
    WHERE {HERE} AND {LAST_RUN} AND {CHOSEN} AND $__timeFilter(at)
) AS seen FULL JOIN (
    SELECT one.2 AS value, min(r.changed_at) AS since FROM registry_v AS r ARRAY JOIN stopped_segments AS one
    WHERE {HERE} AND {LAST_RUN} AND one.1 = ${{dimension:sqlstring}} GROUP BY value
) AS stopped ON seen.segment = stopped.value
ORDER BY state DESC, segment
SETTINGS join_use_nulls = 1""",
        columns("segment:text state:text since:time"),
        colours={"served": GREEN, "stopped": RED},
        coloured=("state",),
    ),
)
OVER_TIME = (
    Panel(
        "$metric by $dimension and variant",
        "timeseries",
        "Compare the variants within a segment, never across segments. Lines that part in one segment: its own cause.",
        f"""
SELECT $__timeInterval(at) AS time, concat(assumeNotNull(segment_value), ' ', variant) AS arm,
    argMax(m.mean, (at, offset)) AS mean
FROM measures_arms_copies_v AS m
WHERE {HERE} AND metric = ${{metric:sqlstring}} AND {CHOSEN} AND isNotNull(m.mean) AND $__timeFilter(at)
GROUP BY time, arm ORDER BY time, arm""",
        columns("time:time arm:text mean:number"),
    ),
    Panel(
        "Rows by $dimension",
        "timeseries",
        "Rows of this run behind each segment, both variants. One that stops rising: its traffic or its tags are gone.",
        f"""
SELECT time, segment, sum(n) AS rows FROM (
    SELECT $__timeInterval(at) AS time, assumeNotNull(segment_value) AS segment, variant, argMax(m.n, (at, offset)) AS n
    FROM measures_arms_copies_v AS m
    WHERE {HERE} AND metric = ${{metric:sqlstring}} AND {CHOSEN} AND isNotNull(m.n) AND $__timeFilter(at)
    GROUP BY time, segment, variant
) GROUP BY time, segment ORDER BY time, segment""",
        columns("time:time segment:text rows:number"),
        unit=ROWS,
    ),
)

PAGE = Page(
    "segments",
    "Segments",
    "One experiment by tenant, language or channel: who is harmed, and who is stopped alone.",
    {"Where it is": WHERE_IT_IS, "Over time": OVER_TIME},
    {"experiment": EXPERIMENT, "dimension": DIMENSION, "metric": METRIC},
)

"""The Monitor health dashboard: whether stoploss sees, decides, and is obeyed. Its processes: Prometheus."""

from __future__ import annotations

from grafana.overview import APPLIED
from grafana.panel import BY_MINUTES, GREEN, RED, TRACES, YELLOW, Page, Panel, columns

SEES = (
    Panel(
        "Last look at each experiment",
        "table",
        "How old the newest measure is, at the end of the time shown. A running experiment is measured every 10 s: "
        "older than 2 minutes means that judge, recorder or Kafka stands. Read StoplossJudgeBehind in the runbook.",
        """
SELECT experiment, state, m.last AS last, dateDiff('second', m.last, $__toTime) AS age FROM (
    SELECT experiment, max(at) AS last FROM measures_verdicts_copies_v WHERE at <= $__toTime GROUP BY experiment
) AS m INNER JOIN (
    SELECT experiment, lifecycle AS state FROM registry_v
    ORDER BY changed_at DESC, ledger_offset DESC LIMIT 1 BY experiment
) AS r ON m.experiment = r.experiment
ORDER BY age DESC, experiment""",
        columns("experiment:text state:text last:time age:number"),
        unit="s",
        steps=((None, GREEN), (30, YELLOW), (120, RED)),
        coloured=("age",),
        links=("experiment",),
    ),
    Panel(
        "Measures stored",
        "timeseries",
        "One every 10 s while an experiment runs. A gap while traffic came: nobody judged, or nobody stored.",
        """
SELECT $__timeInterval(at) AS time, experiment, uniqExact(ledger_offset) AS measures
FROM measures_verdicts_copies_v WHERE $__timeFilter(at) GROUP BY time, experiment ORDER BY time, experiment""",
        columns("time:time experiment:text measures:number"),
        unit="suffix: measures",
    ),
    Panel(
        "Traces stored",
        "timeseries",
        "Traces by service. One that falls to nothing while it serves: its sender, the Collector or intake.",
        f"""
SELECT {BY_MINUTES} AS time, service, sum(m.traces) AS traces
FROM trace_minutes_v AS m WHERE $__timeFilter(minute) GROUP BY time, service ORDER BY time, service""",
        columns("time:time service:text traces:number"),
        unit=TRACES,
    ),
    Panel(
        "Conclusions",
        "timeseries",
        "What was written to the journal, by kind. Many monitor_blind: sources come and go; look at the senders.",
        """
SELECT $__timeInterval(at) AS time, kind, count() AS entries
FROM journal_shown_v WHERE $__timeFilter(at) GROUP BY time, kind ORDER BY time, kind""",
        columns("time:time kind:text entries:number"),
        unit="suffix: entries",
        bars=True,
    ),
)
OBEYED = (
    Panel(
        "Decision to applied",
        "timeseries",
        "From a command to the ack of each controller. More than a few seconds: it polls too seldom, or was down.",
        """
SELECT time, controller, max(seconds) AS slowest FROM (
    SELECT $__timeInterval(a.at) AS time, JSONExtractString(a.details, 'controller') AS controller,
        dateDiff('millisecond', issued.decided, a.at) / 1000 AS seconds
    FROM journal_shown_v AS a INNER JOIN (
        SELECT command_id, min(c.decided_at) AS decided FROM commands_shown_v AS c GROUP BY command_id
    ) AS issued ON assumeNotNull(a.command_id) = issued.command_id
    WHERE kind = 'command_acked' AND JSONExtractString(a.details, 'status') = 'applied' AND $__timeFilter(a.at)
) GROUP BY time, controller ORDER BY time, controller""",
        columns("time:time controller:text slowest:number"),
        unit="s",
        steps=((None, GREEN), (5, YELLOW), (30, RED)),
    ),
    Panel(
        "Commands and who applied them",
        "table",
        "Sent more than once: it was not applied in time. Missing: controllers that have not applied it; read "
        "StoplossCommandOverdue in the runbook and set the flag by hand.",
        f"""
SELECT issued.decided AS time, experiment, action, sent, asked, ifNull(applied.controllers, 0) AS applied,
    greatest(toInt64(asked) - toInt64(applied), 0) AS missing
FROM (
    SELECT command_id, any(c.experiment) AS experiment, any(c.action) AS action, min(c.decided_at) AS decided,
        count() AS sent, any(length(c.controllers)) AS asked
    FROM commands_shown_v AS c WHERE $__timeFilter(c.decided_at) GROUP BY command_id
) AS issued LEFT JOIN {APPLIED} AS applied ON issued.command_id = applied.of_command
ORDER BY time DESC, experiment LIMIT 100""",
        columns("time:time experiment:text action:text sent:number asked:number applied:number missing:number"),
        unit="suffix: controllers",
        steps=((None, GREEN), (1, RED)),
        units={"sent": "suffix: times"},
        coloured=("missing",),
        links=("experiment",),
    ),
)

PAGE = Page(
    "health",
    "Monitor health",
    "Whether the monitor sees, decides and is obeyed. Lag and memory of its processes are in Prometheus.",
    {"It sees and decides": SEES, "It is obeyed": OBEYED},
)

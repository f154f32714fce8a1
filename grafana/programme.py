"""The Programme dashboard: what the organisation gets from its experiments, and what stoploss answered in them."""

from __future__ import annotations

from grafana.choices import EXPERIMENT
from grafana.panel import (
    BLUE,
    COMMANDS,
    EVERYBODY,
    EXPERIMENTS,
    GREEN,
    GREY,
    HERE,
    RED,
    REQUESTS,
    RUNS,
    STATES,
    USD,
    YELLOW,
    Page,
    Panel,
    Variable,
    columns,
)
from stoploss.metrics import METRICS

BEGAN = """(
    SELECT experiment, run, min(j.at) AS began FROM journal_shown_copies_v AS j
    WHERE kind = 'lifecycle_changed' AND sentence = 'running' GROUP BY experiment, run
)"""
ENDED = """(
    SELECT experiment, run, min(j.at) AS ended, argMin(j.sentence, j.number) AS outcome FROM journal_shown_copies_v AS j
    WHERE kind = 'lifecycle_changed' AND sentence IN ('paused', 'stopped', 'rolled_back', 'adopted', 'completed')
    GROUP BY experiment, run
)"""

DECISIONS = (
    Panel(
        "Experiments started",
        "stat",
        "Experiments whose treatment was served for the first time in the time shown.",
        f"""
SELECT count() AS experiments FROM (SELECT experiment, min(r.began) AS first FROM {BEGAN} AS r GROUP BY experiment)
WHERE $__timeFilter(first)""",
        columns("experiments:number"),
        unit=EXPERIMENTS,
        width=6,
        height=4,
        steps=((None, GREY), (1, BLUE)),
    ),
    Panel(
        "Runs ended by a rule",
        "stat",
        "Runs whose exposure a rule lowered for good. Review each: was it harm, or a margin too narrow?",
        """
SELECT uniqExact(experiment, run) AS runs FROM commands_shown_v AS c
WHERE isNotNull(rule) AND action IN ('pause', 'rollback', 'stop') AND NOT dry_run AND $__timeFilter(c.decided_at)""",
        columns("runs:number"),
        unit=RUNS,
        width=6,
        height=4,
        steps=((None, GREY), (1, YELLOW)),
    ),
    Panel(
        "Time to a decision, median",
        "stat",
        "From the start of a run to what ended it. Longer than you can wait: wider margins, or more exposure.",
        f"""
SELECT medianExact(dateDiff('second', b.began, e.ended)) AS seconds
FROM {BEGAN} AS b INNER JOIN {ENDED} AS e ON b.experiment = e.experiment AND b.run = e.run
WHERE $__timeFilter(e.ended)""",
        columns("seconds:number"),
        unit="s",
        width=6,
        height=4,
        steps=((None, BLUE),),
    ),
    Panel(
        "Served after a stop",
        "stat",
        "Requests that began with the treatment after a command had lowered exposure, in all experiments. "
        "Rising: a service ignores its flag.",
        """
SELECT sum(JSONExtractInt(counted.details, 'after_stop')) AS requests FROM (
    SELECT assumeNotNull(command_id) AS of_command, details FROM journal_shown_copies_v
    WHERE kind = 'exposures_counted' AND $__timeFilter(at) ORDER BY number DESC LIMIT 1 BY experiment, of_command
) AS counted""",
        columns("requests:number"),
        unit=REQUESTS,
        width=6,
        height=4,
        steps=((None, GREEN), (1, YELLOW), (1_000, RED)),
    ),
    Panel(
        "Stops found false",
        "stat",
        "Runs that a rule had stopped and that people then decided to roll out as they were. More than one in a "
        "hundred: look at their margins, and measure with `stoploss calibrate`.",
        """
SELECT count() AS runs FROM (
    SELECT experiment, run, max(j.at) AS decided FROM journal_shown_copies_v AS j
    WHERE decision = 'rollout' GROUP BY experiment, run
) AS d INNER JOIN (
    SELECT experiment, run, min(c.decided_at) AS stopped FROM commands_shown_v AS c
    WHERE isNotNull(rule) AND action IN ('pause', 'rollback', 'stop') AND NOT dry_run GROUP BY experiment, run
) AS s ON d.experiment = s.experiment AND d.run = s.run
WHERE d.decided > s.stopped AND $__timeFilter(d.decided)""",
        columns("runs:number"),
        unit=RUNS,
        height=4,
        steps=((None, GREEN), (1, YELLOW)),
    ),
    Panel(
        "Cost saved",
        "stat",
        "What control's mean cost says that the treatments' judged requests would have cost, less what they did. "
        "Negative: they cost more. Requests without a price are left out: see Data quality.",
        f"""
SELECT sum(of_run) AS saved FROM (
    SELECT (anyIf(a.last.1, a.variant = r.control) - anyIf(a.last.1, a.variant != r.control))
        * anyIf(a.last.2, a.variant != r.control) AS of_run
    FROM (
        SELECT experiment, run, variant, argMax((m.mean, m.n), (m.at, m.offset)) AS last
        FROM measures_arms_copies_v AS m
        WHERE metric = 'cost_usd' AND {EVERYBODY} AND isNotNull(m.mean) AND isNotNull(m.n) AND $__timeFilter(m.at)
        GROUP BY experiment, run, variant
    ) AS a INNER JOIN (
        SELECT experiment, run, argMin(release_variant, ledger_offset) AS control FROM registry_v
        WHERE lifecycle = 'running' GROUP BY experiment, run
    ) AS r ON a.experiment = r.experiment AND a.run = r.run
    GROUP BY a.experiment, a.run HAVING uniqExact(a.variant) = 2
)""",
        columns("saved:number"),
        unit=USD,
        height=4,
        steps=((None, RED), (0, GREEN)),
    ),
    Panel(
        "Runs and what ended them",
        "table",
        "Every run that ended in the time shown. Many that a rule ended within minutes: rehearse before you start.",
        f"""
SELECT e.ended AS time, e.experiment AS experiment, e.run AS run, outcome,
    dateDiff('second', b.began, e.ended) AS lasted
FROM {BEGAN} AS b INNER JOIN {ENDED} AS e ON b.experiment = e.experiment AND b.run = e.run
WHERE $__timeFilter(e.ended) ORDER BY time DESC, experiment LIMIT 200""",
        columns("time:time experiment:text run:number outcome:text lasted:number"),
        unit="none",
        units={"lasted": "s"},
        colours=STATES,
        coloured=("outcome",),
        links=("experiment",),
    ),
    Panel(
        "What rules answered",
        "timeseries",
        "Commands by the rule that gave them. One rule that gives most of them: look at its margin first.",
        """
SELECT $__timeInterval(decided) AS time, rule, count() AS commands FROM (
    SELECT assumeNotNull(c.rule) AS rule, c.decided_at AS decided FROM commands_shown_v AS c
    WHERE isNotNull(c.rule) AND NOT dry_run AND $__timeFilter(c.decided_at) LIMIT 1 BY command_id
) GROUP BY time, rule ORDER BY time, rule""",
        columns("time:time rule:text commands:number"),
        unit=COMMANDS,
        bars=True,
    ),
)


def side(title: str, metric: str, todo: str) -> Panel:
    """One metric of both variants, to be read beside another."""
    sql = f"""
SELECT $__timeInterval(at) AS time, variant, argMax(m.mean, (at, offset)) AS mean
FROM measures_arms_copies_v AS m
WHERE {HERE} AND metric = {metric} AND {EVERYBODY} AND isNotNull(m.mean) AND $__timeFilter(at)
GROUP BY time, variant ORDER BY time, variant"""
    return Panel(title, "timeseries", todo, sql, columns("time:time variant:text mean:number"))


# Where a spec is written in a way that this does not read, '' is found, and no metric comes first for it.
OF_SUCCESS = r"""(?ms)(?:^|[{,])\\s*"?success"?:.*?\\bmetric"?:\\s*["\']?([^\\s"\',}]+)"""
SUCCESS = f"(SELECT argMax(extract(spec, '{OF_SUCCESS}'), ledger_offset) FROM registry_v WHERE {HERE})"
READ_OFF = tuple(name for name in METRICS if name != "cost_usd")
OF_TRACES = f"splitByChar(':', metric)[1] IN {READ_OFF}"
MEASURED = f"FROM measures_arms_copies_v AS m WHERE {HERE} AND isNotNull(m.mean)"
BEHAVIOUR = Variable(
    "Behaviour of the model",
    f"SELECT metric {MEASURED} AND metric != {SUCCESS} GROUP BY metric ORDER BY {OF_TRACES} DESC, metric",
    ranked=True,
)
"""What is read off a trace first, then scores: all but what the experiment is for."""
BUSINESS = Variable(
    "Business metric",
    f"SELECT metric {MEASURED} GROUP BY metric "
    f"ORDER BY metric = {SUCCESS} DESC, {OF_TRACES}, metric = 'cost_usd', metric",
    ranked=True,
)
"""What the experiment is for first, then results and scores, cost, and the rest."""

SIDE_BY_SIDE = (
    side(
        "Behaviour: $metric",
        "${metric:sqlstring}",
        "How the model behaves. A change here that the business metric beside it does not follow may not matter.",
    ),
    side(
        "Business: $business",
        "${business:sqlstring}",
        "What the company wants. It moves while behaviour does not: look outside of the model.",
    ),
)

PAGE = Page(
    "programme",
    "Programme",
    "What experiments led to, how long it took, what rules answered, and business beside behaviour.",
    {"Decisions": DECISIONS, "Business beside behaviour": SIDE_BY_SIDE},
    {"experiment": EXPERIMENT, "metric": BEHAVIOUR, "business": BUSINESS},
    span="30d",
)

"""The Budgets dashboard: what experiments spend, how fast, and what acts when."""

from __future__ import annotations

from grafana.panel import EVERYBODY, GREEN, RED, TIMES, USD, VERDICTS, YELLOW, Page, Panel, columns

BY_ARM = f"""metric = 'cost_usd' AND {EVERYBODY} AND isNotNull(m.mean) AND $__timeFilter(at)
GROUP BY time, arm ORDER BY time, arm"""

BURNING = (
    Panel(
        "Budgets now",
        "table",
        "Burn of 1× spends exactly the budget in its period. 'Used' is the burn as a part of the one that acts: from "
        "1× on the action is taken. Between 0.5× and 1× lower the exposure, or raise the budget.",
        """
SELECT experiment, ifNull(newest.1, '') AS budget, newest.2 AS verdict, newest.3 AS burn, acts_at,
    burn / acts_at AS used, last
FROM (
    SELECT experiment, rule, v.bound AS acts_at, argMax((v.metric, v.verdict, v.observed), (v.at, v.offset)) AS newest,
        max(v.at) AS last
    FROM measures_verdicts_copies_v AS v WHERE startsWith(rule, 'budget') AND $__timeFilter(v.at)
    GROUP BY experiment, rule, acts_at
) ORDER BY used DESC, experiment, budget, acts_at""",
        columns("experiment:text budget:text verdict:text burn:number acts_at:number used:number last:time"),
        unit=TIMES,
        width=24,
        steps=((None, GREEN), (0.5, YELLOW), (1, RED)),
        colours=VERDICTS,
        coloured=("verdict", "used"),
        links=("experiment",),
    ),
    Panel(
        "Burn",
        "timeseries",
        "How fast each budget is spent. Above 1× for an hour: it will not last its period. A step: a new prompt.",
        """
SELECT $__timeInterval(at) AS time, concat(experiment, ': ', ifNull(metric, '')) AS budget, max(v.observed) AS burn
FROM measures_verdicts_copies_v AS v WHERE startsWith(rule, 'budget') AND isNotNull(v.observed) AND $__timeFilter(at)
GROUP BY time, budget ORDER BY time, budget""",
        columns("time:time budget:text burn:number"),
        unit=TIMES,
        width=24,
        steps=((None, GREEN), (1, YELLOW), (6, RED)),
    ),
)
SPENT = (
    Panel(
        "Cost of a request",
        "timeseries",
        "Mean cost by experiment and variant. The treatment above control: what it costs to go to everybody.",
        f"""
SELECT $__timeInterval(at) AS time, concat(experiment, ': ', variant) AS arm, argMax(m.mean, (at, offset)) AS cost
FROM measures_arms_copies_v AS m WHERE {BY_ARM}""",
        columns("time:time arm:text cost:number"),
        unit=USD,
    ),
    Panel(
        "Spent in the run",
        "timeseries",
        "Judged requests times their mean cost, since the run began. Not the bill: it leaves out what has no price.",
        f"""
SELECT $__timeInterval(at) AS time, concat(experiment, ': ', variant) AS arm,
    argMax(m.mean * m.n, (at, offset)) AS spent
FROM measures_arms_copies_v AS m WHERE {BY_ARM}""",
        columns("time:time arm:text spent:number"),
        unit=USD,
    ),
)

PAGE = Page(
    "budgets",
    "Budgets",
    "What all experiments spend, how fast, and how far it is to the burn that acts.",
    {"Burn": BURNING, "Cost": SPENT},
    span="24h",
)

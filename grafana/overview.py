"""The Overview dashboard: every experiment, what it is allowed to do, and what needs a person now."""

from __future__ import annotations

from grafana.panel import (
    COMMANDS,
    EXPERIMENTS,
    GREEN,
    GREY,
    IN_FORCE,
    RED,
    SHARE,
    STATES,
    TIMES,
    YELLOW,
    Page,
    Panel,
    columns,
)

SIGHT = """(
    SELECT experiment, JSONExtractInt(j.details, 'until') = 0 AS is_blind FROM journal_shown_copies_v AS j
    WHERE kind = 'monitor_blind' ORDER BY number DESC LIMIT 1 BY experiment
)"""
APPLIED = """(
    SELECT assumeNotNull(command_id) AS of_command, uniqExact(JSONExtractString(j.details, 'controller')) AS controllers
    FROM journal_shown_copies_v AS j
    WHERE kind = 'command_acked' AND JSONExtractString(j.details, 'status') = 'applied' GROUP BY of_command
)"""
BURN = """(
    SELECT experiment, max(newest.1 / acts_at) AS burn FROM (
        SELECT experiment, rule, v.bound AS acts_at, argMax(tuple(v.observed), (v.at, v.offset)) AS newest
        FROM measures_verdicts_copies_v AS v WHERE startsWith(rule, 'budget') AND $__timeFilter(v.at)
        GROUP BY experiment, rule, acts_at
    ) GROUP BY experiment
)"""
BLIND = f"SELECT countIf(is_blind) AS experiments FROM {SIGHT}"
NOT_APPLIED = f"""
SELECT countIf(applied.controllers < length(last.controllers)) AS commands
FROM (
    SELECT command_id, c.controllers AS controllers FROM commands_shown_v AS c
    WHERE NOT dry_run ORDER BY run DESC, sequence DESC LIMIT 1 BY experiment
) AS last LEFT JOIN {APPLIED} AS applied ON last.command_id = applied.of_command"""

NOW = (
    Panel(
        "Experiments that run",
        "stat",
        "Running, held or rolled out: their treatment may get traffic. More than you know of: read the table below.",
        f"SELECT countIf(lifecycle IN ('running', 'holding', 'adopted')) AS experiments FROM {IN_FORCE}",
        columns("experiments:number"),
        unit=EXPERIMENTS,
        width=6,
        height=4,
        steps=((None, GREY), (1, GREEN)),
    ),
    Panel(
        "Stopped by harm, not yet ended",
        "stat",
        "Paused, stopped or rolled back: a person has to resume or complete each. Begin with the newest below.",
        f"SELECT countIf(lifecycle IN ('paused', 'stopped', 'rolled_back')) AS experiments FROM {IN_FORCE}",
        columns("experiments:number"),
        unit=EXPERIMENTS,
        width=6,
        height=4,
        steps=((None, GREEN), (1, YELLOW)),
    ),
    Panel(
        "Experiments that nobody watches",
        "stat",
        "The monitor is blind for them: harm would not be noticed. Read StoplossMonitorBlind in the runbook now.",
        BLIND,
        columns("experiments:number"),
        unit=EXPERIMENTS,
        width=6,
        height=4,
        steps=((None, GREEN), (1, RED)),
    ),
    Panel(
        "Commands not applied",
        "stat",
        "Last commands that not all controllers have applied. Above 0 for more than seconds: set the flag by hand.",
        NOT_APPLIED,
        columns("commands:number"),
        unit=COMMANDS,
        width=6,
        height=4,
        steps=((None, GREEN), (1, RED)),
    ),
)

EACH = (
    Panel(
        "Experiments",
        "table",
        "One line each; click a name for its page. Burn of 1× acts. Blind: nobody sees what it does.",
        f"""
SELECT one.experiment AS experiment, lifecycle AS state, exposure, run, changed_at AS since,
    if(isNull(burnt.experiment), NULL, burnt.burn) AS budget_used, if(is_blind, 'blind', 'sees') AS monitor
FROM {IN_FORCE} AS one
LEFT JOIN {BURN} AS burnt ON one.experiment = burnt.experiment
LEFT JOIN {SIGHT} AS sight ON one.experiment = sight.experiment
ORDER BY since DESC, experiment
SETTINGS join_use_nulls = 1""",
        columns("experiment:text state:text exposure:number run:number since:time budget_used:number monitor:text"),
        width=24,
        height=9,
        unit="none",
        steps=((None, GREEN), (0.5, YELLOW), (1, RED)),
        colours=STATES | {"blind": RED, "sees": GREEN},
        units={"exposure": SHARE, "budget_used": TIMES},
        coloured=("state", "budget_used", "monitor"),
        links=("experiment",),
    ),
    Panel(
        "Exposure",
        "timeseries",
        "Share of traffic that each treatment should get. A fall to 0 is a stop: see the commands for its reason.",
        """
SELECT $__timeInterval(changed_at) AS time, experiment, argMax(exposure, ledger_offset) AS share
FROM registry_v WHERE $__timeFilter(changed_at) GROUP BY time, experiment ORDER BY time, experiment""",
        columns("time:time experiment:text share:number"),
        unit=SHARE,
    ),
    Panel(
        "Budget burn, of what acts",
        "timeseries",
        "The fastest burn of each experiment as a part of the burn that acts. At 1× it is stopped or throttled.",
        """
SELECT $__timeInterval(at) AS time, experiment, max(v.observed / v.bound) AS burn
FROM measures_verdicts_copies_v AS v WHERE startsWith(rule, 'budget') AND $__timeFilter(at)
GROUP BY time, experiment ORDER BY time, experiment""",
        columns("time:time experiment:text burn:number"),
        unit=TIMES,
        steps=((None, GREEN), (0.5, YELLOW), (1, RED)),
    ),
    Panel(
        "Findings",
        "timeseries",
        "Verdicts that changed. A wall of them in all experiments: look at the platform, not at a variant.",
        """
SELECT $__timeInterval(at) AS time, experiment, count() AS findings
FROM journal_shown_v WHERE kind = 'finding' AND $__timeFilter(at)
GROUP BY time, experiment ORDER BY time, experiment""",
        columns("time:time experiment:text findings:number"),
        unit="suffix: findings",
        bars=True,
    ),
    Panel(
        "Commands",
        "table",
        "The newest commands of all experiments, and why each was given. Each is sent until everybody has applied it.",
        """
SELECT c.decided_at AS time, experiment, action, exposure, reason FROM commands_shown_v AS c
WHERE $__timeFilter(c.decided_at) ORDER BY time DESC, experiment LIMIT 1 BY command_id LIMIT 100""",
        columns("time:time experiment:text action:text exposure:number reason:text"),
        units={"exposure": SHARE},
        links=("experiment",),
    ),
)

PAGE = Page(
    "overview",
    "Overview",
    "Every experiment: what it is allowed to do, what burns, what is blind, and what a person has to decide.",
    {"Now": NOW, "Experiments": EACH},
    span="6h",
)

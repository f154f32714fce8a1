"""What the Experiment dashboard shows: its panels, their SQL, and what a person should do about each."""

from __future__ import annotations

from grafana.choices import CHOSEN_VALUES, DIMENSION, EXPERIMENT, GUARDRAIL, METRIC, VALUE
from grafana.panel import (
    BLUE,
    EVERYBODY,
    GREEN,
    GREY,
    HERE,
    LAST_RUN,
    RED,
    REQUESTS,
    ROWS,
    SHARE,
    STATES,
    TIMES,
    TRACES,
    USD,
    VERDICTS,
    YELLOW,
    Page,
    Panel,
    Rows,
    columns,
)


def arm_panel(title: str, metric: str, unit: str, todo: str, *, rate: bool = False) -> Panel:
    """A metric of each variant over time; a rate has no quantiles worth a line."""
    numbers = ("mean",) if rate else ("mean", "p50", "p95")
    picked = ", ".join(f"argMax(m.{name}, at) AS {name}" for name in numbers)
    sql = f"""
SELECT $__timeInterval(at) AS time, variant, {picked}
FROM measures_arms_copies_v AS m
WHERE {HERE} AND metric = {metric} AND {EVERYBODY} AND $__timeFilter(at)
GROUP BY time, variant
ORDER BY time, variant"""
    shape = columns("time:time variant:text " + " ".join(f"{name}:number" for name in numbers))
    return Panel(title, "timeseries", todo, sql, shape, unit)


STATE_PANELS = (
    Panel(
        "State",
        "stat",
        "What the judge last wrote to the registry. If it is not what you expect, read 'What the monitor concluded'.",
        f"SELECT lifecycle AS state FROM registry_v WHERE {HERE} ORDER BY changed_at DESC, ledger_offset DESC LIMIT 1",
        columns("state:text"),
        width=6,
        height=4,
        colours=STATES,
    ),
    Panel(
        "Exposure of the treatment",
        "stat",
        "Share of traffic the flag should send to the treatment. Above 0 after a stop: check the controller's acks.",
        f"SELECT exposure FROM registry_v WHERE {HERE} ORDER BY changed_at DESC, ledger_offset DESC LIMIT 1",
        columns("exposure:number"),
        unit=SHARE,
        width=6,
        height=4,
        steps=((None, GREY), (0.0001, BLUE)),
    ),
    Panel(
        "Harm to command",
        "stat",
        "From the first harmful trace to the last command's decision. Not seconds for a gate: look at intake's lag.",
        f"""
SELECT toUnixTimestamp64Micro(decided_at) / 1e6 - JSONExtractInt(details, 'first_harm_at') / 1e6 AS seconds
FROM (
    SELECT assumeNotNull(command_id) AS of_command, details FROM journal_shown_copies_v
    WHERE {HERE} AND kind = 'exposures_counted' AND JSONExtractInt(details, 'first_harm_at') > 0
    ORDER BY number DESC LIMIT 1
) AS counted
INNER JOIN (
    SELECT command_id, min(c.decided_at) AS decided_at FROM commands_shown_v AS c WHERE {HERE} GROUP BY command_id
) AS commanded ON of_command = commanded.command_id""",
        columns("seconds:number"),
        unit="s",
        width=6,
        height=4,
        steps=((None, GREEN), (10, YELLOW), (60, RED)),
    ),
    Panel(
        "Traces stored",
        "stat",
        "Traces of this experiment that came in the chosen minutes, each once. None while services run: look at dead "
        "letters.",
        f"SELECT sum(e.traces) AS traces FROM experiment_minutes_v AS e WHERE {HERE} AND $__timeFilter(minute)",
        columns("traces:number"),
        unit=TRACES,
        width=6,
        height=4,
        steps=((None, RED), (1, GREEN)),
    ),
)

ARM_PANELS = (
    arm_panel(
        "Latency", "'latency_ms'", "ms", "Lines that part: see the latency guardrail before you blame the model."
    ),
    arm_panel(
        "Time to first token", "'time_to_first_token_ms'", "ms", "Both arms up: the provider. One arm: the variant."
    ),
    arm_panel(
        "Output tokens", "'output_tokens'", "suffix: tokens", "A jump in one arm is drift; check prompt and model."
    ),
    arm_panel("Cost of a request", "'cost_usd'", USD, "Rising in the treatment: see 'Budget burn' for when it acts."),
    arm_panel(
        "Errors",
        "'error_rate'",
        SHARE,
        "Treatment above control: read error_type in traces_v for its variant.",
        rate=True,
    ),
    arm_panel("Chosen metric: $metric", "${metric:sqlstring}", "short", "Choose the metric at the top of the page."),
)

RULE_PANELS = (
    Panel(
        "Guardrail: $guardrail",
        "timeseries",
        "The treatment's effect with limits that hold at every look, in the margin's own terms (a relative margin of "
        "0.1 is 10 %). Limits wholly beyond the margin: a breach, already acted on. Limits across it: wait for units.",
        f"""
SELECT $__timeInterval(at) AS time, argMax(v.estimate, at) AS estimate,
    argMax(if(isFinite(v.lower), v.lower, NULL), at) AS lower,
    argMax(if(isFinite(v.upper), v.upper, NULL), at) AS upper, argMax(v.margin, at) AS margin
FROM measures_verdicts_copies_v AS v
WHERE {HERE} AND startsWith(rule, 'guardrail') AND metric = ${{guardrail:sqlstring}} AND {EVERYBODY}
    AND isNotNull(v.margin) AND $__timeFilter(at)
GROUP BY time
ORDER BY time""",
        columns("time:time estimate:number lower:number upper:number margin:number"),
        width=24,
        repeat="guardrail",
    ),
    Panel(
        "Budget burn",
        "timeseries",
        "1× spends exactly the budget in its period. A line at its 'acts at' number fires that action; below it, but "
        "above 1× for long, lower the exposure yourself or raise the budget.",
        f"""
SELECT $__timeInterval(at) AS time,
    concat(ifNull(metric, ''), ', acts at ', toString(ifNull(v.bound, 0)), '×') AS budget,
    argMax(v.observed, at) AS burn
FROM measures_verdicts_copies_v AS v
WHERE {HERE} AND startsWith(rule, 'budget') AND $__timeFilter(at)
GROUP BY time, budget
ORDER BY time, budget""",
        columns("time:time budget:text burn:number"),
        unit=TIMES,
        width=24,
        steps=((None, GREEN), (1, YELLOW), (6, RED)),
    ),
    Panel(
        "Sample ratio",
        "timeseries",
        "Evidence that the split is not the declared one, and units that changed their variant, by their limits. "
        "From 1× on the ramp is held: the assignment is broken. Mend it before you trust any effect.",
        f"""
SELECT $__timeInterval(at) AS time,
    if(v.reason IN ('steady', 'unit_in_two_variants'), 'units in two variants', 'split') AS evidence,
    argMax(v.observed / nullIf(v.bound, 0), (at, offset)) AS used
FROM measures_verdicts_copies_v AS v
WHERE {HERE} AND rule = 'sample_ratio' AND {EVERYBODY} AND isNotNull(v.observed) AND $__timeFilter(at)
GROUP BY time, evidence
ORDER BY time, evidence""",
        columns("time:time evidence:text used:number"),
        unit=TIMES,
        width=24,
        steps=((None, GREEN), (0.5, YELLOW), (1, RED)),
    ),
    Panel(
        "Verdicts now",
        "table",
        "What each rule last said, with both numbers compared. Undecided is normal while the reason is a floor. "
        "Segments of too few rows show no numbers, nor do those that would tell of them.",
        f"""
SELECT rule, ifNull(metric, '') AS metric, segment, verdict, reason, observed, bound, estimate, lower, upper, margin,
    n_control, n_treatment
FROM (
    SELECT v.*, if({EVERYBODY}, 'everybody', concat(segment_dimension, '=', segment_value)) AS segment,
        (at, offset) AS place, max(place) OVER (PARTITION BY v.rule, v.metric, segment) AS newest
    FROM measures_verdicts_v AS v
    WHERE {HERE} AND {LAST_RUN} AND $__timeFilter(at)
) AS latest
WHERE place = newest
ORDER BY verdict = 'breach' DESC, rule, metric, segment, bound""",
        columns(
            "rule:text metric:text segment:text verdict:text reason:text observed:number bound:number estimate:number "
            "lower:number upper:number margin:number n_control:number n_treatment:number"
        ),
        width=24,
        height=9,
        colours=VERDICTS,
        units={"n_control": ROWS, "n_treatment": ROWS},
        coloured=("verdict",),
    ),
)

SEGMENT_PANELS = (
    Panel(
        "Segments by $dimension: guardrails",
        "table",
        "Harm that sits in one segment. 1× of the margin used is the limit: a segment that stays red alone gets a "
        "segment-scoped stop. Segments of too few rows are hidden, and so are those that would tell of them.",
        f"""
SELECT segment, metric, verdict, estimate / nullIf(margin, 0) AS margin_used, estimate, n_control, n_treatment
FROM (
    SELECT assumeNotNull(segment_value) AS segment, ifNull(v.metric, '') AS metric, verdict, estimate, margin,
        n_control, n_treatment
    FROM measures_verdicts_copies_v AS v
    WHERE {HERE} AND {LAST_RUN} AND startsWith(rule, 'guardrail') AND segment_dimension = ${{dimension:sqlstring}}
        AND {CHOSEN_VALUES} AND $__timeFilter(at)
    ORDER BY at DESC, offset DESC, verdict = 'breach' DESC
    LIMIT 1 BY segment, metric
) AS latest
ORDER BY margin_used DESC NULLS LAST, segment, metric""",
        columns(
            "segment:text metric:text verdict:text margin_used:number estimate:number n_control:number "
            "n_treatment:number"
        ),
        steps=((None, GREEN), (0.5, YELLOW), (1, RED)),
        colours=VERDICTS,
        units={"margin_used": TIMES, "n_control": ROWS, "n_treatment": ROWS},
        coloured=("margin_used", "verdict"),
    ),
    Panel(
        "Segments by $dimension: arms, $metric",
        "table",
        "The chosen metric in each value of the chosen segment dimension. Compare the variants within a segment, never "
        "across segments. Segments of too few rows are hidden, and so are those that would tell of them.",
        f"""
SELECT segment, variant, n, mean, p50, p95
FROM (
    SELECT assumeNotNull(segment_value) AS segment, variant, n, mean, p50, p95
    FROM measures_arms_copies_v AS m
    WHERE {HERE} AND {LAST_RUN} AND metric = ${{metric:sqlstring}} AND segment_dimension = ${{dimension:sqlstring}}
        AND {CHOSEN_VALUES} AND $__timeFilter(at)
    ORDER BY at DESC, offset DESC
    LIMIT 1 BY segment, variant
) AS latest
ORDER BY segment, variant""",
        columns("segment:text variant:text n:number mean:number p50:number p95:number"),
        units={"n": ROWS},
    ),
)

RECORD_PANELS = (
    Panel(
        "Exposures after stop",
        "table",
        "Requests that the treatment still served once a command had lowered exposure. Rising after all acks are in: "
        "a service ignores its flag. Find it by service in traces_v.",
        f"""
SELECT counted.at AS time, commanded.action AS action, in_flight, after_stop, counted.of_command AS command
FROM (
    SELECT at, number, assumeNotNull(command_id) AS of_command, JSONExtractInt(j.details, 'in_flight') AS in_flight,
        JSONExtractInt(j.details, 'after_stop') AS after_stop
    FROM journal_shown_copies_v AS j
    WHERE {HERE} AND kind = 'exposures_counted'
    ORDER BY number DESC
    LIMIT 1 BY of_command
) AS counted
LEFT JOIN (
    SELECT command_id, any(c.action) AS action FROM commands_shown_v AS c WHERE {HERE} GROUP BY command_id
) AS commanded ON counted.of_command = commanded.command_id
ORDER BY number DESC""",
        columns("time:time action:text in_flight:number after_stop:number command:text"),
        unit=REQUESTS,
        steps=((None, GREEN), (1, YELLOW), (100, RED)),
        coloured=("after_stop",),
    ),
    Panel(
        "What the monitor concluded",
        "table",
        "The journal, newest first. Ledger partition and offset name the entry that led to it: "
        "`stoploss explain` shows its evidence, `stoploss replay` proves it.",
        f"""
SELECT at AS time, kind, ifNull(verdict, '') AS verdict, sentence, number, ledger_partition, ledger_offset
FROM journal_shown_v
WHERE {HERE} AND $__timeFilter(at)
ORDER BY number DESC
LIMIT 200""",
        columns(
            "time:time kind:text verdict:text sentence:text number:number ledger_partition:number ledger_offset:number"
        ),
        unit="none",
        colours=VERDICTS,
        coloured=("verdict",),
    ),
)

DEAD_LETTERS = (
    Panel(
        "Dead letters over time",
        "timeseries",
        "Records of all experiments that could not be read. A new step: a sender was deployed with another schema.",
        """
SELECT $__timeInterval(at) AS time, code, count() AS records
FROM dead_letters_v
WHERE $__timeFilter(at)
GROUP BY time, code
ORDER BY time, code""",
        columns("time:time code:text records:number"),
        unit="suffix: records",
        bars=True,
    ),
    Panel(
        "Dead letters by reason",
        "table",
        "The kinds of fault with an example, which names the way out. Bytes and place of each stand in dead_letters_v.",
        """
SELECT stage, code, count() AS records, max(d.at) AS last, argMax(d.reason, d.at) AS example
FROM dead_letters_v AS d
WHERE $__timeFilter(d.at)
GROUP BY stage, code
ORDER BY records DESC, stage, code""",
        columns("stage:text code:text records:number last:time example:text"),
        unit="suffix: records",
        steps=((None, YELLOW), (100, RED)),
        coloured=("records",),
    ),
)

BY_HEADING: Rows = {
    "Now": STATE_PANELS,
    "Arms": ARM_PANELS,
    "Rules": RULE_PANELS,
    "Segments": SEGMENT_PANELS,
    "Record": (*RECORD_PANELS, *DEAD_LETTERS),
}

COMMANDS_SQL = f"""
SELECT c.decided_at AS time, action AS title, reason AS text,
    concat('run ', toString(run), ',sequence ', toString(sequence)) AS tags
FROM commands_shown_v AS c
WHERE {HERE} AND $__timeFilter(c.decided_at)
ORDER BY time, c.offset
LIMIT 1 BY command_id"""
DRIFT_RULES = ("drift", "mix_drift", "judge_drift")
"""As the evidence of a finding names them: an arm's metric, who its users are, the judge that scores it."""
DRIFT_SQL = f"""
SELECT j.at AS time, concat(assumeNotNull(rule), ': ', verdict) AS title, sentence AS text,
    concat('run ', toString(run)) AS tags
FROM journal_shown_v AS j
WHERE {HERE} AND kind = 'finding' AND rule IN {DRIFT_RULES} AND $__timeFilter(j.at)
ORDER BY time, number"""

PAGE = Page(
    "experiment",
    "Experiment",
    "One experiment: its state, its arms, what the rules say, what was commanded and what followed.",
    BY_HEADING,
    {"experiment": EXPERIMENT, "dimension": DIMENSION, "value": VALUE, "metric": METRIC, "guardrail": GUARDRAIL},
    annotations={"Commands": COMMANDS_SQL, "Drift": DRIFT_SQL},
)

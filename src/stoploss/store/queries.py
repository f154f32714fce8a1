"""Every read that shows numbers: from the deduplicating views, with all values bound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from clickhouse_connect.driver.client import Client

from stoploss.store.query import Query
from stoploss.store.rows import (
    Arm,
    CommandAck,
    CommandWithAcks,
    DeadLetterCount,
    ExposuresAfterStop,
    HiddenCell,
    PublishedCommand,
    RuleVerdict,
    SpecVersion,
    Status,
    TimelineEntry,
    TraceOrigin,
)
from stoploss.suppression import MINIMUM_CELL

_SEGMENT_TEXTS = "arrayMap(s -> concat(s.dimension, '=', s.value), stopped_segments) AS stopped_segments"

STATUS = Query(
    Status,
    f"""
SELECT * FROM (
    SELECT experiment, lifecycle, run, epoch, sequence, release_variant, exposure, {_SEGMENT_TEXTS}, command_id,
        changed_at, spec_hash, ledger_partition
    FROM registry_v
    ORDER BY experiment, changed_at DESC, ledger_offset DESC, offset DESC
    LIMIT 1 BY experiment
)
ORDER BY experiment
""",
)

SPECS = Query(
    SpecVersion,
    """
SELECT argMin(r.spec, r.changed_at) AS spec, spec_hash, min(r.changed_at) AS changed_at
FROM registry_v AS r
WHERE experiment = {experiment:String}
GROUP BY spec_hash
ORDER BY changed_at
""",
)

TIMELINE = Query(
    TimelineEntry,
    """
SELECT number, at, run, epoch, kind, verdict, severity, rule, metric, segment_dimension, segment_value, sentence,
    observed, bound, estimate, lower, upper, margin, n_control, n_treatment, command_id, conclusion, entry_id,
    ledger_partition, ledger_offset
FROM journal_v
WHERE experiment = {experiment:String} AND (empty({kinds:Array(String)}) OR has({kinds:Array(String)}, kind))
ORDER BY number, offset
""",
)

COMMANDS = Query(
    PublishedCommand,
    f"""
SELECT command_id, run, epoch, sequence, action, release_variant, exposure, {_SEGMENT_TEXTS}, reason, rule, metric,
    segment_dimension, segment_value, observed, bound, n_control, n_treatment, decided_at, dry_run, controllers,
    toInt64(count() OVER (PARTITION BY command_id)) AS times_sent
FROM commands_v
WHERE experiment = {{experiment:String}}
ORDER BY run, sequence, offset
LIMIT 1 BY command_id
""",
)

ACKS = Query(
    CommandAck,
    """
SELECT assumeNotNull(command_id) AS command_id, JSONExtractString(conclusion, 'controller') AS controller,
    JSONExtractString(conclusion, 'instance') AS instance, JSONExtractString(conclusion, 'status') AS status,
    JSONExtractString(conclusion, 'reason') AS reason, at
FROM journal_v
WHERE experiment = {experiment:String} AND kind = 'command_acked'
ORDER BY number, offset
""",
)

# What people may not read is not stored; where the smallest cell was raised since, what is too small now is hidden too.
_ARM_COLUMNS = """at, run, epoch, variant, segment_dimension, segment_value, metric,
    isNotNull(segment_dimension) AND (m.hidden OR m.n < {minimum_cell:Int64}) AS is_hidden,
    if(is_hidden, NULL, m.n) AS n, if(is_hidden, NULL, m.mean) AS mean,
    if(is_hidden, NULL, m.standard_deviation) AS standard_deviation, if(is_hidden, NULL, m.p50) AS p50,
    if(is_hidden, NULL, m.p95) AS p95, if(is_hidden, NULL, m.p99) AS p99, toBool(is_hidden) AS hidden"""

_VERDICT_COLUMNS = """at, run, epoch, rule, metric, segment_dimension, segment_value, verdict, reason,
    isNotNull(segment_dimension) AND (v.hidden OR least(v.n_control, v.n_treatment) < {minimum_cell:Int64})
        AS is_hidden,
    if(is_hidden, NULL, v.observed) AS observed, if(is_hidden, NULL, v.bound) AS bound,
    if(is_hidden, NULL, v.estimate) AS estimate, if(is_hidden, NULL, v.lower) AS lower,
    if(is_hidden, NULL, v.upper) AS upper, if(is_hidden, NULL, v.margin) AS margin,
    if(is_hidden, NULL, v.n_control) AS n_control, if(is_hidden, NULL, v.n_treatment) AS n_treatment,
    if(is_hidden, '', v.missing) AS missing, toBool(is_hidden) AS hidden"""

# Live cells are measured every few seconds of ledger time; what is older than this is of a cell that lives no more.
_RECENT = "AND at > (SELECT max(at) FROM {table} WHERE experiment = {{experiment:String}}) - INTERVAL 10 MINUTE"

ARMS_LATEST = Query(
    Arm,
    f"""
SELECT * EXCEPT is_hidden FROM (
    SELECT {_ARM_COLUMNS}
    FROM measures_arms_v AS m
    WHERE experiment = {{experiment:String}} {_RECENT.format(table="measures_arms")}
        AND (empty({{dimension:String}}) OR segment_dimension = {{dimension:String}})
    ORDER BY at DESC, offset DESC
    LIMIT 1 BY variant, segment_dimension, segment_value, metric
)
ORDER BY metric, segment_dimension, segment_value, variant
""",
)

ARMS_OVER_TIME = Query(
    Arm,
    f"""
SELECT * EXCEPT is_hidden FROM (
    SELECT {_ARM_COLUMNS}
    FROM measures_arms_v AS m
    WHERE experiment = {{experiment:String}} AND metric = {{metric:String}} AND isNull(segment_dimension)
)
ORDER BY at, variant
""",
)

# A rule may say several things of one metric (a budget has several burn rates): all that its newest measure holds.
VERDICTS_LATEST = Query(
    RuleVerdict,
    f"""
SELECT * EXCEPT (is_hidden, place, newest) FROM (
    SELECT {_VERDICT_COLUMNS}, (at, offset) AS place,
        max(place) OVER (PARTITION BY rule, metric, segment_dimension, segment_value) AS newest
    FROM measures_verdicts_v AS v
    WHERE experiment = {{experiment:String}} {_RECENT.format(table="measures_verdicts")}
)
WHERE place = newest
ORDER BY rule, metric, segment_dimension, segment_value, bound
""",
)

VERDICTS_OVER_TIME = Query(
    RuleVerdict,
    f"""
SELECT * EXCEPT is_hidden FROM (
    SELECT {_VERDICT_COLUMNS}
    FROM measures_verdicts_v AS v
    WHERE experiment = {{experiment:String}} AND startsWith(rule, {{rule:String}}) AND isNull(segment_dimension)
)
ORDER BY at, rule, metric
""",
)

# An offset of the ledger is one of the experiment's partition, so it orders measures and findings alike.
HIDDEN_CELLS = Query(
    HiddenCell,
    """
SELECT run, metric, assumeNotNull(dimension) AS segment_dimension, assumeNotNull(value) AS segment_value,
    minOrNull(if(ledger_offset > hidden_until, ledger_offset, NULL)) AS shown_from
FROM (
    SELECT run, ifNull(v.metric, '') AS metric, v.segment_dimension AS dimension, v.segment_value AS value,
        ledger_offset,
        maxIf(ledger_offset, hidden) OVER (PARTITION BY run, metric, dimension, value) AS hidden_until,
        max(hidden) OVER (PARTITION BY run, metric, dimension, value) AS was_hidden
    FROM measures_verdicts_v AS v
    WHERE experiment = {experiment:String} AND isNotNull(v.segment_dimension)
)
WHERE was_hidden
GROUP BY run, metric, dimension, value
ORDER BY run, metric, segment_dimension, segment_value
""",
)

EXPOSURES_AFTER_STOP = Query(
    ExposuresAfterStop,
    """
SELECT counted.command_id AS command_id, in_flight, after_stop, first_harm_at,
    nullIf(decided, toDateTime64(0, 6, 'UTC')) AS decided_at, last_at
FROM (
    SELECT assumeNotNull(command_id) AS command_id, number,
        JSONExtractInt(conclusion, 'in_flight') AS in_flight, JSONExtractInt(conclusion, 'after_stop') AS after_stop,
        fromUnixTimestamp64Micro(JSONExtract(conclusion, 'first_harm_at', 'Nullable(Int64)'), 'UTC') AS first_harm_at,
        fromUnixTimestamp64Micro(JSONExtract(conclusion, 'last_at', 'Nullable(Int64)'), 'UTC') AS last_at
    FROM journal_v
    WHERE experiment = {experiment:String} AND kind = 'exposures_counted'
    ORDER BY number DESC
    LIMIT 1 BY command_id
) AS counted
LEFT JOIN (
    SELECT command_id, min(decided_at) AS decided
    FROM commands_v
    WHERE experiment = {experiment:String}
    GROUP BY command_id
) AS commanded ON counted.command_id = commanded.command_id
ORDER BY number
""",
)

DEAD_LETTERS = Query(
    DeadLetterCount,
    """
SELECT stage, code, toInt64(count()) AS records, argMax(reason, d.at) AS example, max(d.at) AS last_at
FROM dead_letters_v AS d
GROUP BY stage, code
ORDER BY records DESC, stage, code
""",
)

TRACES_AT = Query(
    TraceOrigin,
    """
SELECT trace_id, at, topic, partition, offset,
    arrayMap(a -> a.variant, arrayFilter(a -> a.experiment = {experiment:String}, assignments)) AS variants,
    quarantined
FROM (
    SELECT trace_id, at, topic, topic_uuid, partition, offset, assignments, quarantined FROM traces_shown_v
    UNION ALL
    SELECT trace_id, at, topic, topic_uuid, partition, offset, assignments, quarantined FROM shadow_traces_shown_v
)
WHERE topic_uuid = {topic_uuid:String} AND partition = {partition:Int32} AND has({offsets:Array(Int64)}, offset)
ORDER BY offset
""",
)

_TRACE_COUNT = """
SELECT count() FROM traces_shown_v
WHERE empty({experiment:String}) OR arrayExists(a -> a.experiment = {experiment:String}, assignments)
"""


def status(client: Client) -> list[Status]:
    """Every experiment, by name, as the registry last had it."""
    return STATUS.run(client)


def specs(client: Client, experiment: str) -> list[SpecVersion]:
    """Every spec that was in force, oldest first."""
    return SPECS.run(client, experiment=experiment)


def timeline(client: Client, experiment: str, kinds: Sequence[str] = ()) -> list[TimelineEntry]:
    """The journal in order; of the named kinds (`finding`, `command_issued`, …) only, if any are named."""
    return TIMELINE.run(client, experiment=experiment, kinds=list(kinds))


def commands(client: Client, experiment: str) -> list[CommandWithAcks]:
    """Commands in order, each once, with the acks that the journal holds."""
    acks: dict[str, list[CommandAck]] = defaultdict(list)
    for ack in ACKS.run(client, experiment=experiment):
        acks[ack.command_id].append(ack)
    published = COMMANDS.run(client, experiment=experiment)
    return [CommandWithAcks(command, tuple(acks[command.command_id])) for command in published]


def arms_latest(client: Client, experiment: str, *, minimum_cell: int = MINIMUM_CELL) -> list[Arm]:
    """The newest measure of every cell of the last run."""
    return ARMS_LATEST.run(client, experiment=experiment, dimension="", minimum_cell=minimum_cell)


def segments(client: Client, experiment: str, dimension: str, *, minimum_cell: int = MINIMUM_CELL) -> list[Arm]:
    """The newest measure of every value of one segment dimension, in the last run."""
    return ARMS_LATEST.run(client, experiment=experiment, dimension=dimension, minimum_cell=minimum_cell)


def arms_over_time(client: Client, experiment: str, metric: str) -> list[Arm]:
    """A metric of each variant over ledger time, all segments together."""
    return ARMS_OVER_TIME.run(client, experiment=experiment, metric=metric, minimum_cell=MINIMUM_CELL)


def verdicts_latest(client: Client, experiment: str, *, minimum_cell: int = MINIMUM_CELL) -> list[RuleVerdict]:
    """What every rule of the last run said last."""
    return VERDICTS_LATEST.run(client, experiment=experiment, minimum_cell=minimum_cell)


def verdicts_over_time(client: Client, experiment: str, rule: str) -> list[RuleVerdict]:
    """What the rules whose name starts with `rule` said over ledger time, all segments together."""
    return VERDICTS_OVER_TIME.run(client, experiment=experiment, rule=rule, minimum_cell=MINIMUM_CELL)


def burn(client: Client, experiment: str) -> list[RuleVerdict]:
    """Burn rate (`observed`) against the rate that acts (`bound`) of each budget over ledger time."""
    return verdicts_over_time(client, experiment, "budget")


def hidden_cells(client: Client, experiment: str) -> list[HiddenCell]:
    """Cells that the measures hid from people, of all runs."""
    return HIDDEN_CELLS.run(client, experiment=experiment)


def exposures_after_stop(client: Client, experiment: str) -> list[ExposuresAfterStop]:
    """The last count of each command that lowered exposure."""
    return EXPOSURES_AFTER_STOP.run(client, experiment=experiment)


def dead_letters(client: Client) -> list[DeadLetterCount]:
    """What could not be read, by role and kind of fault, most frequent first."""
    return DEAD_LETTERS.run(client)


def traces_at(
    client: Client, experiment: str, topic_uuid: str, partition: int, offsets: Sequence[int]
) -> list[TraceOrigin]:
    """The traces behind evidence rows: an evidence block names its rows by source and offset."""
    where: dict[str, Any] = {"topic_uuid": topic_uuid, "partition": partition, "offsets": list(offsets)}
    return TRACES_AT.run(client, experiment=experiment, **where)


def trace_count(client: Client, experiment: str = "") -> int:
    """Stored traces, each once: of one experiment, or all."""
    return int(client.query(_TRACE_COUNT, parameters={"experiment": experiment}).result_rows[0][0])


QUERIES: dict[str, Query[Any]] = {
    "status": STATUS,
    "specs": SPECS,
    "timeline": TIMELINE,
    "commands": COMMANDS,
    "acks": ACKS,
    "arms_latest": ARMS_LATEST,
    "arms_over_time": ARMS_OVER_TIME,
    "verdicts_latest": VERDICTS_LATEST,
    "verdicts_over_time": VERDICTS_OVER_TIME,
    "hidden_cells": HIDDEN_CELLS,
    "exposures_after_stop": EXPOSURES_AFTER_STOP,
    "dead_letters": DEAD_LETTERS,
    "traces_at": TRACES_AT,
}

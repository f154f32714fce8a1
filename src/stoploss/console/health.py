"""How an experiment fares, in a line: what a person should look at first, or when it was last measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clickhouse_connect.driver.client import Client

from stoploss.lifecycle import LIVE, Lifecycle
from stoploss.review.overview import ExperimentStatus
from stoploss.store.query import Query

QUIET = timedelta(seconds=60)
"""A run that is judged is measured every ten seconds of ledger time."""


@dataclass(frozen=True, slots=True)
class Measured:
    experiment: str
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class Concluded:
    """What the journal of the last run says: what breached, and since when the monitor is blind, if it is."""

    experiment: str
    breached: list[str]
    is_blind: bool
    blind_at: datetime


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Controllers that have not applied the last command."""

    experiment: str
    controllers: list[str]


MEASURED = Query(
    Measured,
    """
SELECT experiment, max(at) AS measured_at
FROM measures_arms
WHERE has({experiments:Array(String)}, experiment) AND isNull(segment_dimension)
GROUP BY experiment
""",
)

# Names alone: a small segment's numbers stand in its sentence, so no sentence is read here.
CONCLUDED = Query(
    Concluded,
    """
SELECT experiment,
    groupUniqArrayIf(10)(
        concat(ifNull(metric, ''), if(isNull(segment_dimension), '', concat(' for ', segment_dimension, '=',
            ifNull(segment_value, '')))),
        kind = 'finding' AND verdict = 'breach') AS breached,
    toBool(argMaxIf(JSONExtract(conclusion, 'until', 'Nullable(Int64)') IS NULL, number, kind = 'monitor_blind'))
        AND countIf(kind = 'monitor_blind') > 0 AS is_blind,
    maxIf(j.at, kind = 'monitor_blind') AS blind_at
FROM journal_v AS j
WHERE has({experiments:Array(String)}, experiment) AND (experiment, run) IN (
    SELECT experiment, max(run) FROM journal WHERE has({experiments:Array(String)}, experiment) GROUP BY experiment
)
GROUP BY experiment
""",
)

UNANSWERED = Query(
    Unanswered,
    """
SELECT commanded.experiment AS experiment, arrayFilter(name -> NOT has(applied, name), controllers) AS controllers
FROM (
    SELECT experiment, command_id, controllers FROM commands_v
    WHERE has({experiments:Array(String)}, experiment)
    ORDER BY experiment, run DESC, sequence DESC
    LIMIT 1 BY experiment
) AS commanded
LEFT JOIN (
    SELECT assumeNotNull(command_id) AS command_id,
        groupUniqArray(JSONExtractString(conclusion, 'controller')) AS applied
    FROM journal_v
    WHERE has({experiments:Array(String)}, experiment) AND kind = 'command_acked'
        AND JSONExtractString(conclusion, 'status') = 'applied'
    GROUP BY command_id
) AS acked ON commanded.command_id = acked.command_id
""",
)


@dataclass(frozen=True, slots=True)
class Pulses:
    """What the store knows of the last run of each experiment, by name."""

    measured: Mapping[str, Measured]
    concluded: Mapping[str, Concluded]
    unanswered: Mapping[str, Unanswered]


@dataclass(frozen=True, slots=True)
class Health:
    """good, warning, bad or quiet, and the sentence beside it, which may end with a time."""

    colour: str
    sentence: str
    at: datetime | None = None


def pulses(client: Client, experiments: Sequence[str]) -> Pulses:
    names = list(experiments)
    return Pulses(
        {row.experiment: row for row in MEASURED.run(client, experiments=names)},
        {row.experiment: row for row in CONCLUDED.run(client, experiments=names)},
        {row.experiment: row for row in UNANSWERED.run(client, experiments=names)},
    )


def health(status: ExperimentStatus, known: Pulses | None, now: datetime) -> Health:
    """The gravest of its troubles.

    known  None: ClickHouse is away, and the registry alone speaks
    """
    name, live = status.experiment, status.lifecycle in LIVE
    concluded = known.concluded.get(name) if known else None
    if known and (late := known.unanswered.get(name)) and late.controllers:
        return Health("bad", f"waiting for {', '.join(late.controllers)} to apply the last command")
    if live and concluded and concluded.is_blind:
        return Health("bad", "the monitor does not see it since", concluded.blind_at)
    if status.lifecycle == Lifecycle.HOLDING:
        return Health("warning", f"held until a person decides{_breached(concluded)}")
    if live:
        return _of_live(status, known, now)
    if status.in_flight is not None and status.after_stop is not None:
        return Health("quiet", f"{status.in_flight:,} in flight at the stop, {status.after_stop:,} begun after it")
    return Health("quiet", "not started" if status.lifecycle == Lifecycle.REGISTERED else "nobody gets the treatment")


def _of_live(status: ExperimentStatus, known: Pulses | None, now: datetime) -> Health:
    if known is None:
        return Health("quiet", "unknown while ClickHouse is away")
    measured, concluded = known.measured.get(status.experiment), known.concluded.get(status.experiment)
    if measured is None:
        return Health("quiet", "not measured yet")
    if now - measured.measured_at > QUIET:
        return Health("warning", "not measured since", measured.measured_at)
    if concluded and concluded.breached:
        return Health("warning", f"harm is shown{_breached(concluded)}; measured", measured.measured_at)
    return Health("good", "no harm is shown; measured", measured.measured_at)


def _breached(concluded: Concluded | None) -> str:
    return f": {', '.join(sorted(concluded.breached))}" if concluded and concluded.breached else ""

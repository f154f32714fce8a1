"""What only a review reads: its pace, who judged it, a sample of its traces, and what production said afterwards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from stoploss import checkpoints, ledger, registry
from stoploss.checkpoints import Checkpoint
from stoploss.governance.effects import take_policy
from stoploss.ledger import JudgeVersion, Request
from stoploss.lifecycle import POLICY
from stoploss.registry import RegistryEntry
from stoploss.state import PartitionState
from stoploss.store.query import Query

_DENIED = re.compile(r"Code: 497\b|ACCESS_DENIED")


@dataclass(frozen=True, slots=True)
class StartToDecision:
    """started_at: of the first start that was accepted; decided_at: when a person completed it."""

    experiment: str
    started_at: datetime | None
    decided_at: datetime | None

    @property
    def took_s(self) -> float | None:
        if self.started_at is None or self.decided_at is None:
            return None
        return (self.decided_at - self.started_at).total_seconds()


START_TO_DECISION = Query(
    StartToDecision,
    """
SELECT experiment,
    minOrNullIf(at, JSONExtractString(conclusion, 'action') = 'start') AS started_at,
    maxOrNullIf(at, JSONExtractString(conclusion, 'action') = 'complete') AS decided_at
FROM journal_v
WHERE kind = 'request_handled' AND JSONExtractBool(conclusion, 'accepted')
GROUP BY experiment
ORDER BY experiment
""",
)


@dataclass(frozen=True, slots=True)
class SampledTrace:
    """A stored trace, and where it came from; nothing in it names a person or a segment.

    steps  as 'kind name', in order
    """

    trace_id: str
    at: datetime
    topic: str
    partition: int
    offset: int
    variant: str
    model: str | None
    prompt: str | None
    latency_ms: float | None
    cost_usd: float | None
    output_tokens: int | None
    error_type: str | None
    finish_reason: str | None
    steps: list[str]
    input_text: str | None
    output_text: str | None


_OF_ARM = """arrayExists(a -> a.experiment = {experiment:String} AND a.variant = {variant:String}
    AND (isNull(a.run) OR a.run = {run:Int32}), assignments)"""

# A trace is drawn by its place and the seed alone, so what it says has no part in it, and the draw can be repeated.
SAMPLE = Query(
    SampledTrace,
    f"""
SELECT trace_id, at, topic, partition, offset, {{variant:String}} AS variant, model,
    if(isNull(prompt_name), NULL, concat(prompt_name, if(isNull(prompt_version), '', concat('@', prompt_version))))
        AS prompt,
    latency_ms, cost_usd, output_tokens, error_type, finish_reason,
    arrayMap(s -> concat(s.kind, ' ', s.name), steps) AS steps, input_text, output_text
FROM traces_v
WHERE isNull(quarantined) AND role = 'live' AND {_OF_ARM}
    AND broker_at BETWEEN {{since:DateTime64(6)}} AND {{until:DateTime64(6)}}
ORDER BY sipHash64({{seed:UInt64}}, topic_uuid, partition, offset), topic_uuid, partition, offset
LIMIT {{most:Int64}}
""",
)


@dataclass(frozen=True, slots=True)
class Population:
    """From how many a sample was drawn."""

    traces: int


POPULATION = Query(
    Population,
    f"""
SELECT toInt64(count()) AS traces
FROM traces_shown_v
WHERE isNull(quarantined) AND role = 'live' AND {_OF_ARM}
    AND broker_at BETWEEN {{since:DateTime64(6)}} AND {{until:DateTime64(6)}}
""",
)


@dataclass(frozen=True, slots=True)
class InProduction:
    """A metric of the treatment in the traces and outcomes that came after the decision."""

    metric: str
    n: int
    mean: float


# The names are those of columns; a score may come with the trace, or later as an outcome.
_NUMBERS = ("latency_ms", "time_to_first_token_ms", "input_tokens", "output_tokens", "cost_usd")
_PAIRS = ", ".join(f"('{name}', toFloat64({name}))" for name in _NUMBERS)
_SERVED = """arrayExists(a -> a.experiment = {experiment:String} AND a.variant = {variant:String}, assignments)
    AND isNull(quarantined) AND broker_at > {since:DateTime64(6)}"""

IN_PRODUCTION = Query(
    InProduction,
    f"""
SELECT metric, toInt64(count()) AS n, avg(value) AS mean FROM (
    SELECT pair.1 AS metric, pair.2 AS value FROM traces_shown_v
    ARRAY JOIN [{_PAIRS}, ('error_rate', toFloat64(isNotNull(error_type)))] AS pair
    WHERE role = 'live' AND isNotNull(pair.2) AND {_SERVED}
    UNION ALL
    SELECT score.name AS metric, score.value AS value FROM traces_shown_v
    ARRAY JOIN scores AS score
    WHERE role = 'live' AND {_SERVED}
    UNION ALL
    SELECT name AS metric, o.value AS value FROM outcomes_shown_v AS o
    WHERE {_SERVED}
)
GROUP BY metric
ORDER BY metric
""",
)

_VERSIONS = """
SELECT offset, value FROM ledger_v
WHERE kind = 'judge_version' AND partition = {partition:Int32}
ORDER BY topic_uuid, partition, offset
"""

# Of no single experiment, so it was told to each partition.
_POLICIES = """
SELECT value FROM ledger_v
WHERE kind = 'request' AND experiment = '' AND partition = {partition:Int32}
ORDER BY topic_uuid, partition, offset
"""

_LAST_ENTRY = """
SELECT value FROM registry_v
WHERE experiment = {experiment:String}
ORDER BY changed_at DESC, ledger_offset DESC, offset DESC
LIMIT 1
"""

_LAST_CHECKPOINT = """
SELECT value FROM checkpoints_v
WHERE experiment = {experiment:String} AND isNotNull(signature)
ORDER BY number DESC, offset DESC
LIMIT 1
"""


def start_to_decision(client: Client) -> list[StartToDecision]:
    """Of every experiment."""
    return START_TO_DECISION.run(client)


def in_production(client: Client, experiment: str, variant: str, since: datetime) -> list[InProduction]:
    """By metric: what a variant did after a moment, as its traces and outcomes say."""
    return IN_PRODUCTION.run(client, experiment=experiment, variant=variant, since=since)


def is_denied(error: ClickHouseError) -> bool:
    """Whether ClickHouse refused a read for lack of a grant.

    >>> is_denied(ClickHouseError("Code: 497. DB::Exception: eve: Not enough privileges")), is_denied(ClickHouseError())
    (True, False)
    """
    return _DENIED.search(str(error)) is not None


def judge_versions(client: Client, partition: int) -> list[tuple[int, JudgeVersion]]:
    """Who judged a ledger partition, each from its offset on."""
    rows = _values(client, _VERSIONS, partition=partition)
    decoded = [(offset, ledger.decode(value)) for offset, value in rows]
    return [(offset, fact) for offset, fact in decoded if isinstance(fact, JudgeVersion)]


def policy_text(client: Client, partition: int) -> str | None:
    """The policy that a ledger partition was told of last; None: of none."""
    told = PartitionState(partition)
    for (value,) in _values(client, _POLICIES, partition=partition):
        fact = ledger.decode(value)
        if isinstance(fact, Request) and fact.action == POLICY:
            take_policy(told, fact)
    return told.policy.text or None


def last_entry(client: Client, experiment: str) -> RegistryEntry | None:
    """What the registry last said of an experiment, whole."""
    rows = _values(client, _LAST_ENTRY, experiment=experiment)
    return registry.decode(rows[0][0]) if rows else None


def last_checkpoint(client: Client, experiment: str) -> Checkpoint | None:
    """The last that carries a signature."""
    rows = _values(client, _LAST_CHECKPOINT, experiment=experiment)
    return checkpoints.decode(rows[0][0]) if rows else None


def _values(client: Client, sql: str, **parameters: Any) -> Sequence[Sequence[Any]]:
    # As bytes: the driver would read a String as UTF-8, and as hex digits where it is none.
    rows: Sequence[Sequence[Any]] = client.query(
        sql, parameters=parameters, column_formats={"value": "bytes"}
    ).result_rows
    return rows


QUERIES: dict[str, Query[Any]] = {
    "start_to_decision": START_TO_DECISION,
    "sample": SAMPLE,
    "population": POPULATION,
    "in_production": IN_PRODUCTION,
}

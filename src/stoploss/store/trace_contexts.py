"""What a stored trace says of itself that an outcome about it must carry: ids, segments, assignments; never a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client

from stoploss.store.query import Query

MOST_IDS = 500
"""Of one query: with ids of 64 bytes each its parameters are some 50 KB, which every server takes."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The columns of a trace that an outcome has too, under the same names."""

    trace_id: str
    unit_id: str | None
    conversation_id: str | None
    tenant: str | None
    language: str | None
    channel: str | None
    assignments: Sequence[Mapping[str, Any]]
    attributes: Sequence[Mapping[str, str]]


# From the table itself, since FINAL would read all of it: copies of a trace are sorted out here, for these ids alone.
# Of several traces under one id the first that was judged stands, as in intake; a live one before a shadow run, of
# which an outcome has to say so.
CONTEXTS = Query(
    TraceContext,
    """
SELECT trace_id, unit_id, conversation_id, tenant, language, channel, assignments, attributes
FROM (
    SELECT trace_id, unit_id, conversation_id, tenant, language, channel, assignments, quarantined, broker_at,
        topic_uuid, partition, offset, attributes, false AS is_shadow
    FROM traces WHERE trace_id IN {trace_ids:Array(String)}
    UNION ALL
    SELECT trace_id, unit_id, conversation_id, tenant, language, channel, assignments, quarantined, broker_at,
        topic_uuid, partition, offset,
        if(arrayExists(a -> a.key = 'shadow_of', attributes), attributes,
            arrayPushBack(attributes, CAST(('shadow_of', ''), 'Tuple(key String, value String)'))), true
    FROM shadow_traces WHERE trace_id IN {trace_ids:Array(String)}
)
WHERE notEmpty(assignments)
ORDER BY is_shadow, isNotNull(quarantined), broker_at, topic_uuid, partition, offset
LIMIT 1 BY trace_id
""",
)


def contexts_of(client: Client, trace_ids: Sequence[str]) -> dict[str, TraceContext]:
    """By trace id, as far as its trace is stored."""
    return {found.trace_id: found for found in _found(client, trace_ids)}


def _found(client: Client, trace_ids: Sequence[str]) -> Iterator[TraceContext]:
    for start in range(0, len(trace_ids), MOST_IDS):
        yield from CONTEXTS.run(client, trace_ids=list(trace_ids[start : start + MOST_IDS]))

"""The stored traces of harmful rows, masked once more, and without what would lead to a person."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client

from stoploss.emit.masking import mask_text
from stoploss.incidents.evidence import Harmful

Trace = dict[str, Any]
"""A trace as the JSON object that a service would send, but for the fields in `WITHHELD`."""

WITHHELD = ("unit_id", "conversation_id")
TEXTS = ("input_text", "output_text")
_PLACE = ("topic_uuid", "partition", "offset")

_AS_SENT = {"output_format_json_named_tuples_as_objects": 1, "output_format_json_quote_64bit_integers": 0}
_COLUMNS = f"* EXCEPT ({', '.join(WITHHELD)}, broker_at, topic, ordinal) REPLACE (toUnixTimestamp64Micro(at) AS at)"
_BY_PLACE = f"""
SELECT {_COLUMNS} FROM (SELECT * FROM traces_v UNION ALL SELECT * FROM shadow_traces_v)
WHERE topic_uuid = {{topic_uuid:String}} AND partition = {{partition:Int32}} AND has({{offsets:Array(Int64)}}, offset)
"""
_BY_ID = f"SELECT {_COLUMNS} FROM traces_v WHERE has({{trace_ids:Array(String)}}, trace_id) AND quarantined IS NULL"
_OUTCOMES = """
SELECT trace_id, offset FROM outcomes_v
WHERE topic_uuid = {topic_uuid:String} AND partition = {partition:Int32} AND has({offsets:Array(Int64)}, offset)
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A harmful row and its trace; None: the trace is not stored (yet, or any more)."""

    row: Harmful
    trace: Trace | None


def shown(client: Client, rows: Sequence[Harmful]) -> list[Shown]:
    """The rows in their order, each with its trace."""
    by_place = dict(_of_traces(client, rows)) | dict(_of_outcomes(client, rows))
    return [Shown(row, by_place.get(_place(row))) for row in rows]


def evidence_fields(trace: Trace) -> Trace:
    """What may be handed on: the fields that a service sends, in which nothing is empty."""
    inner = (*_PLACE, "pii_classes", "quarantined")
    return {name: value for name, value in trace.items() if name not in inner and value not in (None, [])}


Place = tuple[str, int, int]


def _place(row: Harmful) -> Place:
    return (row.source.topic_uuid, row.source.partition, row.offset)


def _of_traces(client: Client, rows: Iterable[Harmful]) -> Iterator[tuple[Place, Trace]]:
    for (uuid, partition), offsets in _by_source(row for row in rows if not row.outcome).items():
        where = {"topic_uuid": uuid, "partition": partition, "offsets": offsets}
        for trace in _objects(client, _BY_PLACE, where):
            yield (uuid, partition, trace["offset"]), masked(trace)


def _of_outcomes(client: Client, rows: Iterable[Harmful]) -> Iterator[tuple[Place, Trace]]:
    """An outcome names its trace by id."""
    for (uuid, partition), offsets in _by_source(row for row in rows if row.outcome).items():
        where = {"topic_uuid": uuid, "partition": partition, "offsets": offsets}
        trace_of = {found["offset"]: found["trace_id"] for found in _objects(client, _OUTCOMES, where)}
        traces = _objects(client, _BY_ID, {"trace_ids": sorted(set(trace_of.values()))})
        by_id = {trace["trace_id"]: masked(trace) for trace in traces}
        yield from (((uuid, partition, at), by_id[name]) for at, name in trace_of.items() if name in by_id)


def _by_source(rows: Iterable[Harmful]) -> dict[tuple[str, int], list[int]]:
    offsets: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row in rows:
        offsets[row.source.topic_uuid, row.source.partition].append(row.offset)
    return offsets


def _objects(client: Client, sql: str, parameters: dict[str, Any]) -> list[Trace]:
    lines = client.raw_query(sql, parameters=parameters, settings=_AS_SENT, fmt="JSONEachRow")
    return [json.loads(line) for line in lines.split(b"\n") if line]


def masked(trace: Trace) -> Trace:
    """Texts and attributes with personal data and secrets replaced: as intake did, for what is handed on is seen anew.

    >>> masked({"input_text": "I am ann@example.org", "attributes": [{"key": "from", "value": "ann@example.org"}]})
    {'input_text': 'I am [masked:email]', 'attributes': [{'key': 'from', 'value': '[masked:email]'}]}
    """
    texts = {name: mask_text(trace[name]) for name in TEXTS if trace.get(name)}
    pairs = [{**pair, "value": mask_text(pair["value"])} for pair in trace.get("attributes") or []]
    return {**trace, **texts, "attributes": pairs}

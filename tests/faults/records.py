"""What the verifier reads: topics by confluent-kafka, records by fastavro and the files of schemas/, the senders' logs.

No code of stoploss is used here.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from fastavro.schema import fingerprint, to_parsing_canonical_form

SCHEMAS = Path(__file__).parents[2] / "schemas"
PATIENCE_S = 180.0
Place = tuple[str, int, int]
"""Topic UUID, partition and offset of a trace."""
Record = dict[str, Any]
Log = tuple[str, dict[str, str]]
TOPIC_OF = {
    "evidence": "traces",
    "unassigned": "traces",
    "bad": "traces",
    "outcome": "outcomes",
    "bare": "outcomes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the verifier is told.

    logs         of senders: file, and the UUIDs of the topics that it wrote to, by their names
    resolved     UUID of the topic on which bare outcomes are given back
    experiments  by name: lifecycle and exposure that must stand at the end, and the actions that led there
    ledger_whole  false: its beginning was deleted, so neither evidence nor fold can be told from it
    judge_group  consumer group whose commits say how far the ledger is judged
    clickhouse   address and database; None: nobody records
    """

    bootstrap: str
    prefix: str
    logs: list[Log]
    experiments: dict[str, Record]
    flag_file: str
    public_key: str
    judge_group: str
    resolved: str
    ledger_whole: bool = True
    clickhouse: tuple[str, str] | None = None


def records_of(told: Told, topic: str) -> list[Message]:
    """Every committed record, in the order of each partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": told.bootstrap,
            "group.id": "independent-verifier",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        return list(_to_the_end(consumer, told.prefix + topic))
    finally:
        consumer.close()


def _to_the_end(consumer: Consumer, topic: str) -> Iterator[Message]:
    waiting = set(consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions)
    starts = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=PATIENCE_S)[0] for p in sorted(waiting)]
    consumer.assign([TopicPartition(topic, p, start) for p, start in zip(sorted(waiting), starts, strict=True)])
    while waiting:
        message = consumer.poll(PATIENCE_S)
        if message is None:
            raise TimeoutError(f"{topic} could not be read to its end")
        error = message.error()
        if error is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            waiting.discard(message.partition())
        else:
            raise KafkaException(error)


@cache
def schemas() -> dict[bytes, tuple[str, Any]]:
    """Name and parsed schema of every file, by the fingerprint that stands before a datum."""
    found = {}
    for path in sorted(SCHEMAS.glob("*.avsc")):
        source = json.loads(path.read_text())
        mark = bytes.fromhex(fingerprint(to_parsing_canonical_form(source), "CRC-64-AVRO"))
        found[mark] = (path.stem, fastavro.parse_schema(_bare(source)))
    return found


def _bare(schema: Any) -> Any:
    """Without logical types: times stay integers."""
    if isinstance(schema, dict):
        return {key: _bare(value) for key, value in schema.items() if key != "logicalType"}
    return [_bare(item) for item in schema] if isinstance(schema, list) else schema


def decode(value: bytes | None) -> tuple[str, Record]:
    """Name of the schema, and the record."""
    assert value is not None
    assert value[:2] == b"\xc3\x01", value[:2]
    name, schema = schemas()[value[2:10]]
    record = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None, return_record_name=True)
    return name, record  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Sent:
    """What senders wrote down of one kind: where the records stand, and the traces that they are of."""

    places: set[Place]
    trace_ids: set[str]


def sent(logs: Iterable[Log]) -> dict[str, Sent]:
    """By what stands there: `evidence`, `unassigned` or `bad`, `outcome` or `bare`."""
    found = {kind: Sent(set(), set()) for kind in TOPIC_OF}
    for path, uuids in logs:
        for line in Path(path).read_text().splitlines():
            trace_id, partition, offset, kind = line.split()
            found[kind].places.add((uuids[TOPIC_OF[kind]], int(partition), int(offset)))
            found[kind].trace_ids.add(trace_id)
    return found

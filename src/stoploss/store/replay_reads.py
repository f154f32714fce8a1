"""The stored ledger and journal, byte for byte and in order: what a replay folds, and what it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clickhouse_connect.driver.client import Client

from stoploss.store.rows import JournalRecord, LedgerRecord

# A page at a time bounds the memory of both sides; entries are at most 500 KB, and mostly far smaller.
PAGE_ENTRIES = 500
NEWEST_TOPIC = ""

_LEDGER = """
SELECT offset, toUnixTimestamp64Micro(at) AS at_micros, key, value
FROM ledger_v
WHERE topic_uuid = {topic_uuid:String} AND partition = {partition:Int32} AND offset > {after:Int64}
ORDER BY topic_uuid, partition, offset
LIMIT {page:Int64}
"""

_LEDGER_TOPIC = "SELECT argMax(topic_uuid, at) FROM ledger WHERE partition = {partition:Int32}"

_LEDGER_PARTITIONS = "SELECT DISTINCT partition FROM ledger ORDER BY partition"

_JOURNAL = """
SELECT number, offset, value
FROM journal_v
WHERE experiment = {experiment:String} AND (number, offset) > ({number:Int64}, {offset:Int64})
ORDER BY experiment, number, topic_uuid, partition, offset
LIMIT {page:Int64}
"""


def ledger_partitions(client: Client) -> list[int]:
    return [partition for (partition,) in client.query(_LEDGER_PARTITIONS).result_rows]


def read_ledger(
    client: Client, partition: int, *, after: int = -1, topic_uuid: str = NEWEST_TOPIC
) -> Iterator[LedgerRecord]:
    """Entries of a ledger partition behind offset `after`, each once.

    topic_uuid  which ledger, where the topic was deleted and made again; by default the one written to last
    """
    topic = topic_uuid or client.query(_LEDGER_TOPIC, parameters={"partition": partition}).result_rows[0][0]
    while page := _page(client, _LEDGER, topic_uuid=topic, partition=partition, after=after):
        for offset, at_micros, key, value in page:
            yield LedgerRecord(partition, offset, at_micros, key, value)
        after = page[-1][0]


def ledger_entry(client: Client, partition: int, offset: int) -> LedgerRecord | None:
    """The one entry that a journal entry or a measure names; None where it is not stored (yet, or any more)."""
    entry = next(read_ledger(client, partition, after=offset - 1), None)
    return entry if entry is not None and entry.offset == offset else None


def read_journal(client: Client, experiment: str) -> Iterator[JournalRecord]:
    """The experiment's entries by number, each once; the hash of each value is the next entry's `previous`."""
    number, offset = -1, -1
    while page := _page(client, _JOURNAL, experiment=experiment, number=number, offset=offset):
        for of_entry, _, value in page:
            yield JournalRecord(of_entry, value)
        number, offset = page[-1][0], page[-1][1]


def _page(client: Client, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    # As bytes: the driver would read a String as UTF-8, and as hex digits where it is none.
    formats: dict[str, str | dict[str, str]] = {"key": "bytes", "value": "bytes"}
    result = client.query(sql, parameters={**parameters, "page": PAGE_ENTRIES}, column_formats=formats)
    return [tuple(row) for row in result.result_rows]

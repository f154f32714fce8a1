"""Records to rows: nothing twice, nothing altered, nothing that stops the recorder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from stoploss import journal, ledger
from stoploss.intake.results import IntakeResult, RawRecord
from stoploss.journal import Conclusion
from stoploss.ledger import Source
from stoploss.store import inserts, schema
from stoploss.store.arrow import CleanKind, clean_to_bytes
from stoploss.store.positions import POSITION_TABLE, highest_offsets
from stoploss.store.stored import Stored
from tests.intake.alone import process_outcomes, process_traces
from tests.store import samples

TABLES = sorted(schema.tables())
AS_BYTES: dict[str, str | dict[str, str]] = {"key": "bytes", "value": "bytes", "signature": "bytes"}


def insert(client: Client, stream: str, records: list[Stored]) -> None:
    inserts.insert(client, inserts.encode(stream, records))


def rows(client: Client, relation: str) -> list[tuple[str, ...]]:
    """All rows as text, in the order of their ids."""
    query = f"SELECT toString(tuple(*)) FROM {relation} ORDER BY topic_uuid, partition, offset, ordinal"
    return [tuple(row) for row in client.query(query).result_rows]


@pytest.fixture(scope="module")
def told_twice(database: Callable[[str], Client]) -> Client:
    """The story inserted whole, and again record by record from the end; both copies kept apart in their parts."""
    client = database("inserted_twice")
    for table in TABLES:
        client.command("SYSTEM STOP MERGES {table:Identifier}", parameters={"table": table})
    for stream, records in samples.story().items():
        insert(client, stream, records)
        for record in reversed(records):
            insert(client, stream, [record])
    return client


@pytest.mark.parametrize("table", TABLES)
def test_records_inserted_again_in_other_batches_show_once(told: Client, told_twice: Client, table: str) -> None:
    once = rows(told, f"{table}_v")
    assert len(once) > 1
    assert told_twice.query(f"SELECT count() FROM {table}").result_rows == [(2 * len(once),)]
    assert rows(told_twice, f"{table}_v") == once


@pytest.mark.parametrize("table", TABLES)
def test_equal_ids_carry_equal_content(told_twice: Client, table: str) -> None:
    contents = told_twice.query(
        f"SELECT max(contents), min(copies) FROM (SELECT uniqExact(toString(tuple(* EXCEPT stored_at))) AS contents, "
        f"count() AS copies FROM {table} GROUP BY topic_uuid, partition, offset, ordinal)"
    )
    assert contents.result_rows == [(1, 2)]


def test_ledger_entries_come_back_byte_for_byte_even_those_that_cannot_be_read(told: Client) -> None:
    stored = told.query(
        "SELECT kind, experiment, key, value FROM ledger_v ORDER BY offset",
        column_formats=AS_BYTES,
    ).result_rows
    sent = samples.story()["ledger"]
    assert [(row[2], row[3]) for row in stored] == [(record.key, record.value) for record in sent]
    assert [row[0] for row in stored] == ["request", "evidence_block", "tick", "evidence_block", "unreadable"]


def test_a_fact_to_the_whole_partition_has_no_experiment(database: Callable[[str], Client]) -> None:
    client = database("keyless")
    insert(client, "ledger", samples.stored("ledger", [ledger.encode(ledger.Tick(3, "judge-1"))], key=None))
    assert client.query("SELECT experiment, key FROM ledger_v").result_rows == [(None, None)]


def test_an_unreadable_ack_is_a_dead_letter_and_the_others_are_stored(told: Client) -> None:
    assert told.query("SELECT status FROM acks_v ORDER BY offset").result_rows == [("received",), ("applied",)]
    dead = told.query("SELECT code, source_offset, value FROM dead_letters FINAL WHERE stage = 'recorder'")
    assert dead.result_rows == [("unreadable_acks", 0, "forged")]


def test_a_command_keeps_the_bytes_and_the_signature_that_verify_it(told: Client) -> None:
    sent = samples.story()["control"][0]
    kept = told.query("SELECT signature, value FROM commands_v", column_formats=AS_BYTES).result_rows[0]
    assert kept == (sent.header("stoploss-signature"), sent.value)


def test_journal_columns_are_the_conclusions_and_the_hash_chains(told: Client) -> None:
    chain = told.query("SELECT previous, hash, kind FROM journal_v ORDER BY number").result_rows
    assert [row[0] for row in chain] == [journal.GENESIS, *(row[1] for row in chain[:-1])]
    assert [row[2] for row in chain] == [inserts.kind_of(conclusion) for conclusion in samples.conclusions()]
    finding = told.query(
        "SELECT sentence, observed, upper, JSONExtract(conclusion, 'evidence', 'lower', 'Float64') FROM journal_v "
        "WHERE kind = 'finding' AND isNull(segment_value)"
    )
    assert finding.result_rows == [("latency is 31 % higher", 0.31, float("inf"), 0.18)]


def test_no_data_is_null_and_never_zero(told: Client) -> None:
    counted = told.query("SELECT DISTINCT n, mean, p95 FROM measures_arms_v WHERE metric = 'helpfulness'")
    assert counted.result_rows == [(0, None, None)]


@pytest.mark.parametrize("conclusion", samples.conclusions())
def test_every_conclusion_has_a_row(conclusion: Conclusion) -> None:
    entry = replace(journal.decode(samples.journal_values()[0]), conclusion=conclusion)
    (batch,) = inserts.encode("journal", samples.stored("journal", [journal.encode(entry)]))
    assert batch.columns.column("kind").to_pylist() == [inserts.kind_of(conclusion).encode()]


def test_a_batch_of_traces_with_a_hundred_forged_dates_is_stored(database: Callable[[str], Client]) -> None:
    client = database("forged_dates")
    day = 86_400 * samples.SECOND
    forged = samples.traces_frame(range(150)).with_columns(
        at=pl.col("offset") * 400 * day, quarantined=pl.lit("impossible")
    )
    insert(client, inserts.CLEAN, samples.stored("traces_clean", [clean_to_bytes(forged)]))
    assert client.query("SELECT count(), max(at) < '2300-01-01' FROM traces_v").result_rows == [(150, 1)]


def test_what_intake_makes_of_traces_and_outcomes_is_stored_whole(database: Callable[[str], Client]) -> None:
    client = database("from_intake")
    context = {"assignments": [{"experiment": samples.NAME, "variant": "small", "run": 1}]}
    trace = {"trace_id": "t-1", "at": samples.at(0), "output_text": "mail ada@example.com", "latency_ms": 3.5}
    outcome = {"trace_id": "t-1", "at": samples.at(1), "kind": "score", "name": "helpfulness", "value": 0.5}
    made: list[tuple[pl.DataFrame, CleanKind]] = [
        (processed(process_traces, "traces", [trace | context, trace | context | {"at": 5}]), "traces"),
        (processed(process_outcomes, "outcomes", [outcome | context]), "outcomes"),
    ]
    insert(client, inserts.CLEAN, samples.stored("traces_clean", [clean_to_bytes(frame, kind) for frame, kind in made]))
    traces = (
        "SELECT toUnixTimestamp64Micro(at), latency_ms, pii_classes, isNull(quarantined) FROM traces_v ORDER BY offset"
    )
    assert client.query(traces).result_rows == [
        (samples.at(0), 3.5, ["email"], 1),
        (5, 3.5, ["email"], 0),
    ]
    assert "ada@" not in str(client.query("SELECT output_text FROM traces_v").result_rows)
    assert client.query("SELECT name, value, assignments.variant FROM outcomes_v").result_rows == [
        ("helpfulness", 0.5, ["small"])
    ]


def processed(process: Callable[..., IntakeResult], topic: str, values: list[dict[str, object]]) -> pl.DataFrame:
    raw = [RawRecord(n, json.dumps(value).encode(), samples.NOW * 1_000) for n, value in enumerate(values)]
    source = Source(f"stoploss.{topic}", f"uuid-of-{topic}", 0)
    return process(raw, source, {}, salt=bytes(32), now_micros=samples.at(0)).clean


def test_a_batch_that_is_no_arrow_stream_is_a_dead_letter_beside_the_stored_ones(
    database: Callable[[str], Client],
) -> None:
    client = database("broken_batch")
    good = clean_to_bytes(samples.traces_frame(range(4)))
    insert(client, inserts.CLEAN, samples.stored("traces_clean", [good, good[:-40], b"", None]))
    assert client.query("SELECT count() FROM traces_v").result_rows == [(4,)]
    assert client.query("SELECT groupArray(offset) FROM dead_letters_v").result_rows == [([1, 2, 3],)]


def test_a_row_without_a_column_that_may_not_be_null_is_refused_by_name() -> None:
    (batch,) = inserts.encode("ledger", samples.stored("ledger", [b"x"]))
    (row,) = batch.columns.to_pylist()
    with pytest.raises(ValueError, match=r"ledger\.offset is null in 1 of 1 rows"):
        inserts.batch_of("ledger", [{**row, "offset": None}])


@pytest.mark.parametrize("stream", sorted(POSITION_TABLE))
def test_positions_name_the_last_stored_record_of_each_partition(told_twice: Client, stream: str) -> None:
    sent = [record for record in samples.story()[stream] if record.value is not None]
    source = Source(sent[-1].topic, sent[-1].topic_uuid, sent[-1].partition)
    assert highest_offsets(told_twice, stream)[source] == sent[-1].offset


def test_positions_of_an_empty_database_are_none(database: Callable[[str], Client]) -> None:
    client = database("untold")
    assert [highest_offsets(client, stream) for stream in POSITION_TABLE] == [{}] * len(POSITION_TABLE)

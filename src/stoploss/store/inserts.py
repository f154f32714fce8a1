"""From Kafka records to the columns of one insert per table."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client

from stoploss import checkpoints, journal, measures, registry
from stoploss.commands import Ack, Command, Evidence, Segment
from stoploss.errors import MalformedRecord, WireError
from stoploss.intake import dead_letters
from stoploss.journal import Conclusion, Finding, JournalEntry
from stoploss.store import arrow, schema, withholding
from stoploss.store.arrow import Clean, CleanKind
from stoploss.store.positions import POSITION_TABLE
from stoploss.store.stored import Stored
from stoploss.wire import records, schemas
from stoploss.wire.framing import framing_of

SIGNATURE_HEADER = "stoploss-signature"
DEAD_VALUE_BYTES = 256 * 1024
CLEAN = "traces_clean"

Row = dict[str, Any]
Rows = Iterable[tuple[str, Row]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one table as Arrow columns."""

    table: str
    columns: pa.Table


def encode(stream: str, stored: Sequence[Stored]) -> list[Batch]:
    """Records of one stream (a key of positions.POSITION_TABLE) as one batch per table.

    A record that cannot be read becomes a row of dead_letters, so that one bad ack does not stop the recorder.
    """
    if stream == CLEAN:
        return _clean_batches(stored)
    rows: dict[str, list[Row]] = defaultdict(list)
    for record in stored:
        for table, row in _read(stream, record):
            rows[table].append(row)
    return [batch_of(table, of_table) for table, of_table in rows.items()]


def insert(client: Client, batches: Iterable[Batch]) -> int:
    """One insert, of one block, per table; returns how many rows. May be repeated with the same records."""
    by_table: dict[str, list[pa.Table]] = defaultdict(list)
    for batch in batches:
        by_table[batch.table].append(batch.columns)
    inserted = 0
    for table in sorted(by_table, key=_insert_order):
        columns = pa.concat_tables(by_table[table]).combine_chunks()
        if len(columns):
            client.insert_arrow(table, columns)
        inserted += len(columns)
    return inserted


def _insert_order(table: str) -> int:
    """A stream's position table comes last: what it holds is then whole, wherever a recorder was killed."""
    return 0 if table == "dead_letters" else 2 if table in POSITION_TABLE.values() else 1


def batch_of(table: str, rows: Sequence[Row]) -> Batch:
    """Nothing is filled in silently: KeyError where a row lacks a column, ValueError where it may not be null."""
    columns = schema.tables()[table]
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in columns]
    for field, array in zip(columns, arrays, strict=True):
        if array.null_count and not field.nullable:
            raise ValueError(f"{table}.{field.name} is null in {array.null_count} of {len(rows)} rows; it never may be")
    return Batch(table, pa.Table.from_arrays(arrays, schema=columns))


def _read(stream: str, record: Stored) -> Rows:
    try:
        return list(_ENCODERS[stream](record))
    except WireError as error:
        return [("dead_letters", _refused_row(stream, record, error))]


def ledger_rows(record: Stored) -> Rows:
    """Any bytes: what stands in the ledger is kept whether or not this version can read it."""
    experiment = None if record.key is None else record.key.decode(errors="replace")
    row = {"at": record.at, "key": record.key, "kind": _kind_of(record.value), "experiment": experiment}
    yield "ledger", {**row, "value": record.value or b"", **record.row_id()}


def _kind_of(value: bytes | None) -> str:
    """Name of the fact's schema, from the framing alone."""
    try:
        return schemas.shared(framing_of(value).mark).name
    except WireError:
        return "unreadable"


def journal_rows(record: Stored) -> Rows:
    entry = journal.decode(record.value)
    value = record.value or b""
    place = {
        "entry_id": entry.entry_id,
        "experiment": entry.experiment,
        "number": entry.number,
        "run": entry.run,
        "epoch": entry.epoch,
        "at": entry.at,
        "ledger_partition": entry.ledger_partition,
        "ledger_offset": entry.ledger_offset,
        "ledger_ordinal": entry.ordinal,
        "previous": entry.previous,
        "hash": journal.hash_of(value),
    }
    yield "journal", {**place, **_conclusion_columns(entry), "value": value, **record.row_id()}


def checkpoint_rows(record: Stored) -> Rows:
    checkpoint = checkpoints.decode(record.value)
    flat = _plain_columns(checkpoint, "installation experiment run number chain ledger_partition ledger_offset at")
    yield "checkpoints", {**flat, **_published_columns(record), **record.row_id()}


def _conclusion_columns(entry: JournalEntry) -> Row:
    conclusion = entry.conclusion
    finding = conclusion if isinstance(conclusion, Finding) else None
    return {
        "kind": kind_of(conclusion),
        "verdict": finding.verdict if finding else None,
        "severity": finding.severity if finding else None,
        "sentence": getattr(conclusion, "sentence", "") or getattr(conclusion, "reason", ""),
        "command_id": getattr(conclusion, "command_id", None),
        "conclusion": json.dumps(_finite(records.plain(conclusion)), sort_keys=True, ensure_ascii=False),
        **_evidence_columns(finding.evidence if finding else None),
    }


def _finite(value: Any) -> Any:
    """JSON knows no infinity, and a limit may be one: null. The exact bytes stand beside it."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def kind_of(conclusion: Conclusion) -> str:
    """Class name in snake case: EpochOpened is epoch_opened."""
    name = type(conclusion).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _evidence_columns(evidence: Evidence | None) -> Row:
    """Every field of an Evidence as a column; None in all where there is none."""
    names = [name for name in Evidence.__dataclass_fields__ if name not in ("segment", "rule_version", "journal_ids")]
    values: Row = {name: getattr(evidence, name, None) for name in names}
    return values | _segment_columns(evidence.segment if evidence else None)


def _segment_columns(segment: Segment | None) -> Row:
    dimension, value = (segment.dimension, segment.value) if segment else (None, None)
    return {"segment_dimension": dimension, "segment_value": value}


def measure_rows(record: Stored) -> Rows:
    measure = measures.decode(record.value)
    common = _plain_columns(measure, "experiment run epoch at ledger_partition ledger_offset")
    for ordinal, (arm, shown) in enumerate(zip(measure.arms, withholding.arms_shown(measure), strict=True)):
        place = {**_segment_columns(arm.segment), **record.row_id(ordinal)}
        yield "measures_arms", {**common, **shown.columns, "hidden": shown.hidden, **place}
    for ordinal, (verdict, said) in enumerate(zip(measure.verdicts, withholding.verdicts_shown(measure), strict=True)):
        place = {**_segment_columns(verdict.segment), **record.row_id(ordinal)}
        yield "measures_verdicts", {**common, **said.columns, "hidden": said.hidden, **place}


def _plain_columns(record: object, names: str) -> Row:
    return {name: getattr(record, name) for name in names.split()}


def command_rows(record: Stored) -> Rows:
    command = records.decode(record.value, {"command": Command}, own=True)
    flat = _plain_columns(
        command,
        "command_id experiment run epoch sequence flag release_variant control_variant treatment_variant exposure "
        "reason decided_at expires_at dry_run controllers",
    )
    evidence = command.evidence
    yield (
        "commands",
        {
            **flat,
            **_evidence_columns(evidence),
            **_published_columns(record),
            "journal_ids": evidence.journal_ids if evidence else (),
            "action": command.action.value,
            "stopped_segments": [_segment(segment) for segment in command.stopped_segments],
            "made_for_topic": command.topic,
            **record.row_id(),
        },
    )


def _segment(segment: Segment) -> Row:
    return {"dimension": segment.dimension, "value": segment.value}


def _published_columns(record: Stored) -> Row:
    """The exact bytes and what stood beside them: enough to verify the signature again."""
    return {
        "headers": [{"name": name, "value": value} for name, value in record.headers],
        "signature": record.header(SIGNATURE_HEADER),
        "value": record.value,
    }


def ack_rows(record: Stored) -> Rows:
    ack = records.decode(record.value, {"ack": Ack})
    flat = _plain_columns(ack, "command_id experiment run sequence controller instance reason at")
    yield "acks", {**flat, "status": ack.status.value, **_published_columns(record), **record.row_id()}


def registry_rows(record: Stored) -> Rows:
    """None for a tombstone: it says that compaction may forget, not that anything happened."""
    if record.value is None:
        return
    entry = registry.decode(record.value)
    flat = _plain_columns(
        entry,
        "experiment spec spec_hash lifecycle run epoch sequence release_variant exposure command_id changed_at",
    )
    place = {"ledger_partition": entry.partition, "ledger_offset": entry.offset}
    segments = [_segment(segment) for segment in entry.stopped_segments]
    yield "registry", {**flat, **place, "stopped_segments": segments, "value": record.value, **record.row_id()}


def dead_letter_rows(record: Stored) -> Rows:
    letter = dead_letters.decode(record.value)
    source = {
        "source_topic": letter.source.topic,
        "source_topic_uuid": letter.source.topic_uuid,
        "source_partition": letter.source.partition,
        "source_offset": letter.offset,
    }
    yield "dead_letters", {**_plain_columns(letter, "at stage code reason key value size"), **source, **record.row_id()}


def _refused_row(stream: str, record: Stored, error: WireError) -> Row:
    value = record.value or b""
    return {
        "at": record.at,
        "stage": "recorder",
        "code": f"unreadable_{stream}",
        "reason": str(error),
        "source_topic": record.topic,
        "source_topic_uuid": record.topic_uuid,
        "source_partition": record.partition,
        "source_offset": record.offset,
        "key": record.key,
        "value": value[:DEAD_VALUE_BYTES],
        "size": len(value),
        **record.row_id(),
    }


def _clean_batches(stored: Sequence[Stored]) -> list[Batch]:
    alike: dict[CleanKind, list[tuple[Stored, Clean]]] = defaultdict(list)
    rows: dict[str, list[Row]] = defaultdict(list)
    for record in stored:
        try:
            clean = arrow.clean_from_bytes(record.value)
            alike[clean.kind].append((record, clean))
        except MalformedRecord as error:
            rows["dead_letters"].append(_refused_row(CLEAN, record, error))
    batches = [batch for some in alike.values() for batch in _together(some, rows)]
    return [*batches, *(batch_of(table, of_table) for table, of_table in rows.items())]


def _together(some: Sequence[tuple[Stored, Clean]], rows: dict[str, list[Row]]) -> list[Batch]:
    """All are converted as one, since that costs as much as for one of them; each by itself where that fails, for it is
    one of them that cannot be, or an intake of another version has a column in another type."""
    kind = some[0][1].kind
    try:
        table = arrow.table_of(arrow.joined([clean for _, clean in some]))
    except MalformedRecord as error:
        if len(some) > 1:
            return [batch for one in some for batch in _together([one], rows)]
        rows["dead_letters"].append(_refused_row(CLEAN, some[0][0], error))
        return []
    rows["clean_batches"] += [{"kind": kind, "rows": len(clean.rows), **record.row_id()} for record, clean in some]
    return _by_role(kind, table)


def _by_role(kind: CleanKind, columns: pa.Table) -> list[Batch]:
    """Shadow runs have a table of their own."""
    if kind != "traces":
        return [Batch(kind, columns)]
    shadow = pc.fill_null(pc.equal(columns["role"], b"shadow"), False)
    if not pc.any(shadow, min_count=0).as_py():
        return [Batch("traces", columns)]
    split = [Batch("traces", columns.filter(pc.invert(shadow))), Batch("shadow_traces", columns.filter(shadow))]
    return [batch for batch in split if len(batch.columns)]


_ENCODERS: dict[str, Callable[[Stored], Rows]] = {
    "ledger": ledger_rows,
    "journal": journal_rows,
    "checkpoints": checkpoint_rows,
    "measures": measure_rows,
    "control": command_rows,
    "acks": ack_rows,
    "registry": registry_rows,
    "deadletter": dead_letter_rows,
}

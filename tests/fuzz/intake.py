"""Batches of mutated records between good ones, through the very functions that intake and joiner run.

What is claimed of each batch stands in `check`; one number makes a batch again: `python -m tests.fuzz intake SEED`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

import numpy as np

from stoploss import ledger
from stoploss.evidence import block_columns
from stoploss.intake import dead_letters
from stoploss.intake.bare import bare_outcomes
from stoploss.intake.repeats import Remembered
from stoploss.intake.results import IntakeResult, RawRecord
from stoploss.intake.rows import ProjectedRows, build_blocks
from stoploss.store.arrow import clean_from_bytes, clean_to_bytes, table_of
from stoploss.wire.traces import decode_values
from tests.fuzz import corpus, mutations, oracle
from tests.intake.alone import process_outcomes, process_traces
from tests.intake.records import AT, NAME, SALT, SOURCE, declaring

WATCHED = declaring(
    """
path: {order: [search], approvals: [search], handoffs: [[a, x]]}
limits: {steps: 100, retries: 3, input_tokens: 4000}
drift: [{mix: path, action: none}]
"""
)
LARGEST_LETTER_BYTES = 300_000
OUTCOMES_OF_ITS_OWN = ("helpfulness", "resolved")


@dataclass(frozen=True, slots=True)
class Batch:
    """values[i] stands at offset 100 + i; places of `good` are records that must arrive."""

    kind: str
    values: list[bytes | None]
    good: frozenset[int]

    @property
    def mutated(self) -> int:
        return len(self.values) - len(self.good)


def batch_of(seed: int) -> Batch:
    """Mutated records with a few good ones between; now and then, few among many good ones."""
    rng = Random(seed)
    kind = rng.choice(("trace", "trace", "outcome"))
    mutated, good = (25, 400) if seed % 10 == 9 else (275, 30)
    places = frozenset(rng.sample(range(mutated + good), good))
    values = [
        corpus.good(rng, kind, f"good-{seed}-{place}")
        if place in places
        else mutations.mutated(rng, kind, f"m-{seed}-{place}")
        for place in range(mutated + good)
    ]
    return Batch(kind, values, places)


def check(seed: int) -> int:
    """Raises AssertionError, or whatever intake raised; gives the number of mutated records."""
    batch = batch_of(seed)
    result = run(batch)
    _check_counts(batch, result)
    _check_letters(batch, result)
    _check_evidence(batch, result)
    _check_each(batch, result)
    if result.clean.height:
        stored = clean_from_bytes(clean_to_bytes(result.clean, "traces" if batch.kind == "trace" else "outcomes"))
        assert len(table_of(stored)) == result.clean.height
    return batch.mutated


def run(batch: Batch) -> IntakeResult:
    records = [RawRecord(100 + place, value, AT // 1_000) for place, value in enumerate(batch.values)]
    resolve = corpus.resolver(batch.kind)
    if batch.kind == "outcome":
        return process_outcomes(records, SOURCE, WATCHED, salt=SALT, now_micros=AT, resolve=resolve)
    seen = Remembered()
    return process_traces(records, SOURCE, WATCHED, salt=SALT, now_micros=AT, resolve=resolve, seen=seen)


def _check_counts(batch: Batch, result: IntakeResult) -> None:
    """Each record is in exactly one heap, and what is left to the resolver is what that finds bare."""
    counts = result.counts
    assert counts.valid + counts.rejected + counts.quarantined + counts.waiting == len(batch.values), counts
    assert counts.waiting == (len(_left_to_resolver(batch)) if batch.kind == "outcome" else 0)
    assert len(result.rejects) == counts.rejected


def _left_to_resolver(batch: Batch) -> list[int]:
    decoded = decode_values(batch.values, "outcome", corpus.resolver("outcome"))
    return list(bare_outcomes(decoded, batch.values).positions)


def _check_letters(batch: Batch, result: IntakeResult) -> None:
    """Each bad record stands once in the dead letters, with its bytes and its reason, and fits into a Kafka record."""
    for reject in result.rejects:
        letter = dead_letters.dead_letter(reject, SOURCE)
        encoded = dead_letters.encode(letter)
        assert dead_letters.decode(encoded) == letter
        assert len(encoded) < LARGEST_LETTER_BYTES
        assert reject.value == (batch.values[reject.offset - 100] or b"")
        assert letter.code
        assert letter.reason
    offsets = [reject.offset for reject in result.rejects]
    assert offsets == sorted(set(offsets))


def _check_evidence(batch: Batch, result: IntakeResult) -> None:
    """Blocks go over the wire whole, and hold each row once and in order."""
    for rows in result.rows.values():
        read = [block_columns(fact) for fact in map(_through_the_wire, build_blocks(rows))]
        offsets = np.concatenate([columns.offset for columns in read]).tolist()
        assert offsets == sorted(set(offsets)) == rows.columns["offset"].tolist()


def _through_the_wire(block: ledger.EvidenceBlock) -> ledger.EvidenceBlock:
    read = ledger.decode(ledger.encode(block))
    assert isinstance(read, ledger.EvidenceBlock)
    return read


def _check_each(batch: Batch, result: IntakeResult) -> None:
    """Each record's fate is what an independent reader says of it."""
    refused = {reject.offset: reject for reject in result.rejects}
    evidence = Counter(_offsets(result.rows.get(NAME)))
    ids: dict[str, bytes | None] = {}
    for place, value in enumerate(batch.values):
        offset, found = 100 + place, oracle.judged(value, batch.kind, AT)
        reject = refused.get(offset)
        if place in batch.good:
            assert found.worth == "valid"
        said = f"at place {place}: {found.worth} to an independent reader; intake: {reject}; value {value!r:.2000}"
        if found.record is not None and found.worth == "valid":
            first = ids.setdefault(found.record["trace_id"], value)
            if batch.kind == "trace" and first != value:
                found = oracle.Verdict("bad")  # its id is another's
        assert found.worth == "either" or (reject is not None) == (found.worth == "bad"), said
        if place in batch.good or _must_arrive(batch.kind, found):
            assert evidence[offset] == 1, said
        elif found.worth != "either" and not _may_arrive(found):
            assert evidence[offset] == 0, said


def _offsets(rows: ProjectedRows | None) -> list[int]:
    return [] if rows is None else rows.columns["offset"].tolist()


def _may_arrive(found: oracle.Verdict) -> bool:
    record = found.record
    assigned = record is not None and any(item["experiment"] == NAME for item in record["assignments"])
    return found.worth == "valid" and assigned


def _must_arrive(kind: str, found: oracle.Verdict) -> bool:
    """A shadow run is a row only where it trips a gate, an outcome where its name is declared."""
    if not _may_arrive(found) or found.record is None:
        return False
    return found.record["role"] == "live" if kind == "trace" else found.record["name"] in OUTCOMES_OF_ITS_OWN

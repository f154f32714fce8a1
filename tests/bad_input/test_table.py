"""What happens to bad input, row by row: each case is named by its row, and good neighbours arrive in every one.

Through the functions that the workers run: bytes of Kafka records into intake, its blocks into the judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

from stoploss.errors import DeliveryFailed
from stoploss.intake import dead_letters
from stoploss.intake.dead_letters import Reject, dead_letter
from stoploss.intake.pipeline import read_traces
from stoploss.intake.repeats import Remembered
from stoploss.intake.results import IntakeResult, RawRecord
from stoploss.intake.rows import build_blocks
from stoploss.intake.segments import coded
from stoploss.journal import EvidenceRefused, ExposuresCounted
from stoploss.segments import CANDIDATES, CAPACITY, PATIENCE, Dimension
from stoploss.settings import Settings
from stoploss.store.arrow import clean_to_bytes
from stoploss.topics import DAY_MS, TOPICS
from stoploss.wire.block import zigzag
from streams.feeding import Feeder
from tests.fuzz.corpus import confluent, resolver
from tests.installation import Kafka, create_topics, settings_of, values
from tests.intake.alone import process_outcomes, process_traces
from tests.intake.records import (
    AT,
    NAME,
    SALT,
    SOURCE,
    SPEC,
    as_json,
    assigned,
    avro,
    outcome,
    raw,
    trace,
    watching,
)
from tests.streams.test_feeding import batch_with
from tests.timelines import Timeline

DAY = 24 * 3_600 * 1_000_000
MINUTE = 60 * 1_000_000


def taken_in(*values: bytes | None, **more: Any) -> IntakeResult:
    """Traces of one source partition; a resolver of schema ids is there unless one is named."""
    given = {"salt": SALT, "now_micros": AT, "resolve": resolver("trace"), **more}
    return process_traces(raw(values), SOURCE, watching(), **given)


def arrived(result: IntakeResult) -> list[int]:
    return result.rows[NAME].columns["offset"].tolist()


def of(**fields: Any) -> bytes:
    return avro(trace(**fields))


def json_of(text: str) -> bytes:
    """A JSON trace that is whole but for one more line."""
    return f'{{"trace_id": "bad", "at": {AT}, {text}}}'.encode()


# ---- what cannot be read or believed ---------------------------------------------------------------

WHOLE = of(trace_id="bad")
MANY = ", ".join(['{"key": "", "value": ""}'] * 10**6)
LONG = len('{"key": "", "value": ""}, ')
CROWDED = WHOLE[:-2] + zigzag(500_000) + b"\x00\x00" * 500_000 + b"\x00\x00"
"""In place of its empty attributes, which stand before its empty versions, half a million of them."""
REFUSED: dict[str, tuple[bytes | None, str]] = {
    "empty": (b"", "empty"),
    "empty: no value": (None, "empty"),
    "short": (b"\xc3\x01ab", "unknown_framing"),
    "wrong magic": (b"\x01" + WHOLE, "unknown_framing"),
    "unknown schema id: fingerprint": (b"\xc3\x01abcdefgh" + WHOLE[10:], "unknown_schema"),
    "unknown schema id: registry": (b"\x00\x00\x00\xff\xff" + WHOLE[10:], "unknown_schema"),
    "another type's schema": (avro(outcome(), "outcome"), "unknown_schema"),
    "truncated datum": (WHOLE[:-1], "malformed_avro"),
    "truncated datum: nothing left": (WHOLE[:10], "malformed_avro"),
    "over-long datum": (WHOLE + b"\x00", "malformed_avro"),
    "over-long datum: two in one": (WHOLE + WHOLE[10:], "malformed_avro"),
    "truncated JSON": (as_json(trace())[:-1], "malformed_json"),
    "over-long JSON": (as_json(trace()) + b"{}", "malformed_json"),
    "bad UTF-8": (WHOLE.replace(b"user-1", b"user-\xff"), "malformed_avro"),
    "NaN": (of(latency_ms=float("nan")), "number"),
    "+Inf": (of(latency_ms=float("inf")), "number"),
    "-Inf": (of(cost_usd=-float("inf")), "number"),
    "1e308": (of(time_to_first_token_ms=1e308), "number"),
    "NaN in JSON": (json_of('"latency_ms": NaN'), "malformed_json"),
    "1e999 in JSON": (json_of('"latency_ms": 1e999'), "number"),
    "NaN score": (of(scores=[{"name": "helpfulness", "value": float("nan")}]), "number"),
    "1e308 score": (of(scores=[{"name": "x" * 10_000, "value": 1e308}]), "number"),
    "negative cost": (of(cost_usd=-0.01), "number"),
    "negative latency": (of(latency_ms=-1.0), "number"),
    "negative tokens": (of(output_tokens=-1), "number"),
    "> 1 MB text": (of(output_text="x" * (1 << 20)), "too_large"),
    "10⁶ attributes: as many as a megabyte holds": (CROWDED, "too_many_items"),
    "10⁶ attributes: and cut off": (CROWDED[:-9], "malformed_avro"),
    "10⁶ attributes: 20,000 in JSON": (json_of(f'"attributes": [{MANY[: 20_000 * LONG - 2]}]'), "too_many_items"),
    "10⁶ attributes": (json_of(f'"attributes": [{MANY}]'), "too_large"),
    "deep nesting": (json_of('"steps": ' + "[" * 100_000 + "]" * 100_000), "malformed_json"),
    "deep nesting: as deep as json reads": (json_of('"trace_id": ' + "[" * 960 + "]" * 960), "malformed_json"),
    "deep nesting: in what nobody reads": (
        json_of('"x": ' + '{"x":' * 100_000 + "1" + "}" * 100_000),
        "malformed_json",
    ),
    "no trace id": (of(trace_id=""), "trace_id"),
    "a trace id of 65 bytes": (of(trace_id="x" * 65), "trace_id"),
    "assigned twice": (of(assignments=[assigned("current"), assigned("small")]), "assigned_twice"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_cannot_be_read_or_believed_is_a_dead_letter(row: str) -> None:
    value, code = REFUSED[row]
    result = taken_in(of(trace_id="a"), value, confluent("trace", trace(trace_id="b"), 1), value, as_json(trace()))
    assert arrived(result) == [100, 102, 104]
    assert [(reject.offset, reject.code) for reject in result.rejects] == [(101, code), (103, code)]
    for reject in result.rejects:
        letter = dead_letter(reject, SOURCE)
        assert (letter.value, letter.size) == ((value or b"")[: dead_letters.LARGEST_KEPT_BYTES], len(value or b""))
        assert letter.reason
    assert (result.counts.valid, result.counts.rejected) == (3, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1e308])
def test_an_outcome_whose_value_is_no_number_is_a_dead_letter(value: float) -> None:
    values = [avro(outcome(value=number), "outcome") for number in (0.5, value, 0.5)]
    result = process_outcomes(raw(values), SOURCE, watching(), salt=SALT, now_micros=AT)
    assert arrived(result) == [100, 102]
    assert [reject.code for reject in result.rejects] == ["number"]


def test_a_record_that_uses_up_its_whole_megabyte_is_no_danger_to_the_next_topic() -> None:
    """Its dead letter, its block and what is stored of it each fit into a Kafka record of 1,000,000 bytes."""
    noise = "".join(map(chr, Random(1).choices(range(1, 128), k=(1 << 20) - 300)))
    result = taken_in(of(output_text=noise), of(scores=[{"name": noise, "value": 1e308}]))
    assert arrived(result) == [100]
    (letter,) = [dead_letter(reject, SOURCE) for reject in result.rejects]
    assert len(dead_letters.encode(letter)) < 300_000
    assert len(clean_to_bytes(result.clean)) < 1_000_000


def test_a_text_full_of_addresses_takes_no_longer_than_its_length_asks_for() -> None:
    """Each was looked for in the whole text again: a hundred thousand of them stood a worker still for minutes."""
    text = " ".join(f"a{number}@b.co" for number in range(75_000))
    result = taken_in(of(output_text=text), of(trace_id="b"))
    assert arrived(result) == [100, 101]
    assert result.clean["output_text"][0] == " ".join(["[email]"] * 75_000)


# ---- times -----------------------------------------------------------------------------------------

UNTIMELY: dict[str, tuple[int, str]] = {
    "time 0": (0, "is no time"),
    "1970": (3_600_000_000, "looks like seconds"),
    "negative": (-1, "is no time"),
    "seconds for µs": (AT // 1_000_000, "looks like seconds"),
    "ms for µs": (AT // 1_000, "looks like milliseconds"),
    "ns for µs": (AT * 1_000, "ahead of"),
    "more than 60 s ahead": (AT + MINUTE + 1, "is 60 s ahead of"),
    "more than 24 h old": (AT - DAY - 1, "is 86400 s behind"),
    "the largest number": (2**63 - 1, "ahead of"),
    "the smallest number": (-(2**63), "is no time"),
}


@pytest.mark.parametrize("row", UNTIMELY)
def test_what_comes_from_another_time_is_stored_and_not_judged(row: str) -> None:
    at, reason = UNTIMELY[row]
    result = taken_in(of(trace_id="a"), of(trace_id="late", at=at), of(trace_id="b"))
    assert arrived(result) == [100, 102]
    assert result.rejects == []
    assert (result.counts.valid, result.counts.quarantined) == (2, 1)
    first, untimely, last = result.clean["quarantined"].to_list()
    assert (first, last) == (None, None)
    assert reason in untimely


def test_a_producers_clock_that_is_ahead_does_not_vouch_for_itself() -> None:
    """Where a topic keeps its producers' times, the time of the record is as wrong as the time in it."""
    ahead = AT + DAY
    records = [RawRecord(0, of(at=ahead), ahead // 1_000), RawRecord(1, of(at=ahead), 2**62), RawRecord(2, of(), 2**62)]
    result = process_traces(records, SOURCE, watching(), salt=SALT, now_micros=AT)
    assert arrived(result) == [2]
    assert result.clean["quarantined"].is_not_null().to_list() == [True, True, False]


def test_traces_and_outcomes_are_stamped_by_the_broker() -> None:
    assert {TOPICS[name].config()["message.timestamp.type"] for name in ("traces", "outcomes")} == {"LogAppendTime"}


@pytest.mark.parametrize("stamp_ms", [-1, 0, 2**62, 2**63 - 1])
def test_a_dead_letter_of_a_record_with_an_odd_time_can_be_written(stamp_ms: int) -> None:
    letter = dead_letter(Reject(0, "empty", "empty", b"", stamp_ms), SOURCE)
    assert dead_letters.decode(dead_letters.encode(letter)) == letter
    assert 0 <= letter.at < 2**54


# ---- to the judge ----------------------------------------------------------------------------------


class Way:
    """Bytes on a source topic, through intake, into the ledger, to the judge."""

    def __init__(self) -> None:
        self.timeline = Timeline(SPEC.replace("UNIT", "user")).started()
        self.seen, self.offset = Remembered(), 0

    def send(self, *values: bytes) -> IntakeResult:
        at = self.timeline.at
        records = [RawRecord(self.offset + place, value, at // 1_000) for place, value in enumerate(values)]
        self.offset += len(values)
        result = process_traces(records, SOURCE, watching(), salt=SALT, now_micros=at, seen=self.seen)
        for rows in result.rows.values():
            for block in build_blocks(rows):
                self.timeline.append(block)
        return result

    def counted(self) -> int:
        """Traces whose latency the judge has folded."""
        return int(self.timeline.it.current.metrics.metrics["latency_ms"].n[:2].sum())

    def refused(self) -> dict[str, int]:
        self.timeline.seconds(1)
        return {said.cause: said.rows for said in self.timeline.said(EvidenceRefused)}


@pytest.fixture
def way() -> Way:
    return Way()


def test_one_future_stamp_moves_no_watermark_and_no_clock(way: Way) -> None:
    way.send(of(trace_id="future", at=AT + 10 * 365 * DAY))
    way.send(*(of(trace_id=f"t{number}") for number in range(5)))
    assert way.counted() == 5
    assert way.timeline.state.clock == way.timeline.at


def test_unknown_experiment_is_counted_and_never_created(way: Way) -> None:
    unknown = [assigned(name="newcomer")]
    result = way.send(of(trace_id="a", assignments=unknown), of(trace_id="b"))
    assert result.counts.unknown_experiment == {"newcomer": 1}
    assert result.clean.height == 2
    assert set(way.timeline.state.experiments) == {NAME}
    assert way.counted() == 1


def test_unknown_variant_is_counted_and_in_neither_arm(way: Way) -> None:
    way.send(of(trace_id="a", assignments=[assigned("ghost")]), of(trace_id="b"))
    assert way.counted() == 1
    assert way.refused() == {"variant not declared": 1}


@pytest.mark.parametrize("row", ["ended experiment", "old run"])
def test_what_the_treatment_serves_after_its_end_is_counted_as_exposure_after_the_stop(way: Way, row: str) -> None:
    way.timeline.ask("stop")
    way.timeline.seconds(1)
    stamped = {"run": 1, "epoch": 1} if row == "old run" else {}
    begun = {"at": way.timeline.at, "latency_ms": 100.0, "assignments": [assigned("small", **stamped)]}
    way.send(*(of(trace_id=f"t{number}", **begun) for number in range(3)))
    way.timeline.seconds(5)
    assert way.timeline.said(ExposuresCounted)[-1].after_stop == 3


def test_old_run_is_in_no_arm_of_the_new_one(way: Way) -> None:
    way.timeline.ask("stop")
    way.timeline.ask("resume")
    way.timeline.seconds(1)
    old = [assigned("small", run=1, epoch=1)]
    at = way.timeline.at
    way.send(of(trace_id="a", at=at, assignments=old), of(trace_id="b", at=at))
    compared = way.timeline.it.cap.counts
    assert int(compared.sum()) == 1


# ---- the same trace again --------------------------------------------------------------------------


def test_duplicate_trace_id_with_the_same_content_is_counted_once(way: Way) -> None:
    result = way.send(of(trace_id="a"), of(trace_id="a"), of(trace_id="b"))
    way.send(of(trace_id="a"))
    assert result.rejects == []
    assert way.counted() == 2
    assert way.refused() == {"trace sent before": 2}


def test_duplicate_trace_id_with_different_content_is_a_dead_letter_and_the_first_stands(way: Way) -> None:
    way.send(of(trace_id="a", latency_ms=100.0))
    result = way.send(of(trace_id="a", latency_ms=900.0), of(trace_id="a", latency_ms=100.0), of(trace_id="b"))
    (reject,) = result.rejects
    assert (reject.offset, reject.code) == (1, "trace_id_reused")
    assert reject.assignments == ((NAME, "current"),)
    assert way.counted() == 2


def test_what_is_refused_may_be_sent_again_put_right(way: Way) -> None:
    way.send(of(trace_id="a", latency_ms=-1.0), of(trace_id="b", at=0))
    assert way.send(of(trace_id="a"), of(trace_id="b")).rejects == []
    assert way.counted() == 2


def test_the_window_of_what_came_before_is_bounded() -> None:
    seen = Remembered(remembered=100)
    for start in range(0, 10_000, 50):
        traces_ = np.arange(start, start + 50, dtype=np.uint64)
        assert seen.contradicting(traces_, [b"first"] * 50) == []
    last = np.arange(9_900, 10_000, dtype=np.uint64)
    assert seen.contradicting(last, [b"second"] * 100) == list(range(100))
    assert seen.contradicting(np.zeros(1, np.uint64), [b"forgotten long ago"]) == []
    assert len(seen._young) + len(seen._old) <= 200


def test_one_unit_in_two_variants_is_a_sample_ratio_finding(way: Way) -> None:
    for arm in ("current", "small"):
        way.timeline.seconds(1)
        at = way.timeline.at
        users = [{"trace_id": f"{arm}-{user}", "unit_id": f"u-{user}"} for user in range(50)]
        way.send(*(of(**user, at=at, latency_ms=0.0, assignments=[assigned(arm)]) for user in users))
    way.timeline.seconds(1)
    assert "unit_in_two_variants" in {finding.reason for finding in way.timeline.breaches}


# ---- segment values --------------------------------------------------------------------------------

SEGMENTS: dict[str, str] = {
    "NUL": "acme\x00",
    "RTL override": "a\u202eemca",
    "SQL": "'; DROP TABLE traces; --",
    "65 bytes": "x" * 65,
    "a megabyte": "x" * 900_000,
    "the sign of a cross": "acme×de",
    "a line break": "a\nb",
    "an escape": "\x1b[2J",
}


@pytest.mark.parametrize("row", SEGMENTS)
def test_a_segment_value_of_other_characters_or_too_long_is_one_value(row: str) -> None:
    result = taken_in(of(trace_id="a", tenant=SEGMENTS[row]), of(trace_id="b", tenant="acme"))
    column = result.rows[NAME].segments["tenant"]
    assert [column.values[code] for code in column.codes] == ["invalid", "acme"]


def test_a_million_distinct_segment_values_are_k_values_and_other() -> None:
    """In batches as they come; the heavy ones have their cells, memory stays where it was."""
    dimension = Dimension("tenant", patience=PATIENCE)
    for start in range(0, 1_000_000, 5_000):
        flood = [f"t-{number}" for number in range(start, start + 4_000)]
        heavy = [f"heavy-{number % 100}" for number in range(1_000)]
        column = coded(pl.Series([*flood, *heavy]))
        dimension.cells_of(column.values, column.codes.astype(np.uint16))
    assert len(dimension.cells) <= CAPACITY + 1
    assert len(dimension.waiting) <= CANDIDATES
    named = set(dimension.cells) - {"other"}
    assert named == {name for name in named if name.startswith("heavy-")}


# ---- counts ----------------------------------------------------------------------------------------


def test_bad_records_are_counted_per_variant_whatever_is_bad_about_them() -> None:
    small = {"assignments": [assigned("small")]}
    result = taken_in(
        of(latency_ms=-1.0, **small),
        of(at=0, **small),
        json.dumps({"trace_id": 7, "at": AT, **small}).encode(),
        of(cost_usd=-1.0),
        of(),
    )
    assert {(found.variant, found.count) for found in result.counts.rejected_by_variant} == {
        ("small", 3),
        ("current", 1),
    }


def test_one_bad_record_counts_once_however_often_it_names_a_variant() -> None:
    """Or one hostile record would look like an arm that loses thousands."""
    many = [assigned("small")] * 300
    result = taken_in(of(assignments=many), json.dumps({"trace_id": 7, "at": AT, "assignments": many}).encode())
    assert [(found.variant, found.count) for found in result.counts.rejected_by_variant] == [("small", 2)]


# ---- dead letters ----------------------------------------------------------------------------------


def test_dead_letters_are_kept_for_a_week_at_most() -> None:
    assert TOPICS["deadletter"].retention_ms <= 7 * DAY_MS


@pytest.fixture
def unwritable(kafka: Kafka, tmp_path: Path) -> Iterator[Feeder]:
    """Intake where the topic of dead letters takes nothing; the ledger does."""
    settings: Settings = settings_of(kafka, tmp_path)
    create_topics(settings, "traces", "ledger", "registry", "traces_clean")
    create_topics(settings, "deadletter", max_message_bytes="100")
    feeder = Feeder(settings, "intake", {"traces": read_traces}, "traces", SALT)
    yield feeder
    feeder._registry.stop()


@pytest.mark.kafka
def test_a_dead_letter_that_cannot_be_written_ends_the_worker_before_anything_is_complete(unwritable: Feeder) -> None:
    """It reads on from there when it starts again: blind is better than a record that nobody will find."""
    read = unwritable._read([batch_with(unwritable.settings, b"not a trace " * 100)])
    with pytest.raises(DeliveryFailed, match="this worker ends and starts again from its committed offset"):
        unwritable._publish(read)
    assert values(unwritable.settings, "deadletter") == []

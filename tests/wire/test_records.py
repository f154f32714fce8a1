from __future__ import annotations

import pytest

from stoploss.errors import MalformedRecord, UnknownSchema
from stoploss.intake import dead_letters
from stoploss.intake.dead_letters import DeadLetter
from stoploss.ledger import FACTS, Source, Tick
from stoploss.wire import records, schemas
from stoploss.wire.framing import single_object

LETTER = DeadLetter(Source("traces", "uuid", 1), 7, "intake", "empty", "why", None, b"value", 5, 1)


def test_a_record_survives_the_wire() -> None:
    assert dead_letters.decode(dead_letters.encode(LETTER)) == LETTER


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(MalformedRecord, match="3 bytes follow"):
        dead_letters.decode(dead_letters.encode(LETTER) + b"xyz")


def test_every_truncation_is_refused() -> None:
    whole = dead_letters.encode(LETTER)
    for size in range(len(whole)):
        with pytest.raises(MalformedRecord):
            dead_letters.decode(whole[:size])


def test_a_record_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(MalformedRecord, match="a 'dead_letter' stands where one of"):
        records.decode(dead_letters.encode(LETTER), FACTS)


def test_json_is_refused_where_only_avro_belongs() -> None:
    with pytest.raises(MalformedRecord, match="not json"):
        records.decode(b"{}", FACTS)


def test_an_unknown_fingerprint_is_refused() -> None:
    with pytest.raises(UnknownSchema):
        records.decode(single_object(b"nobodyss", b""), FACTS)


def test_a_value_of_a_wrong_type_is_refused_when_it_is_written() -> None:
    with pytest.raises(MalformedRecord, match="Tick does not fit schema 'tick'"):
        records.encode("tick", Tick(partition="three", owner="me"))  # type: ignore[arg-type]


def test_the_current_schema_is_known_by_its_fingerprint() -> None:
    schema = schemas.schema("dead_letter")
    assert schemas.by_fingerprint(schema.fingerprint).name == "dead_letter"

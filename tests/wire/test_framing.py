from __future__ import annotations

import pytest

from stoploss.errors import MalformedRecord
from stoploss.wire.framing import JSON, Framing, framing_of, single_object


def test_single_object_encoding_names_its_schema_by_fingerprint() -> None:
    assert framing_of(single_object(b"12345678", b"datum")) == Framing("single_object", b"12345678", 10)


def test_confluent_framing_names_its_schema_by_id() -> None:
    assert framing_of(b"\x00\x00\x00\x01\x02rest") == Framing("confluent", b"\x00\x00\x01\x02", 5)


def test_a_json_object_has_no_framing() -> None:
    assert framing_of(b'{"trace_id": "a"}') == JSON


@pytest.mark.parametrize("value", [None, b""])
def test_an_empty_value_is_refused_with_what_to_send(value: bytes | None) -> None:
    with pytest.raises(MalformedRecord, match="empty; send Avro single-object"):
        framing_of(value)


@pytest.mark.parametrize("value", [b"\xc3\x01short", b"\x00\x01", b"[1]", b"PK\x03\x04"])
def test_a_wrong_or_cut_start_is_refused_with_the_known_ones(value: bytes) -> None:
    with pytest.raises(MalformedRecord, match="known starts are c301"):
        framing_of(value)

from __future__ import annotations

import json

import avro.schema
import pytest

from stoploss.errors import UnknownSchema
from stoploss.wire import schemas


@pytest.mark.parametrize("name", sorted(schemas.current()))
def test_the_avro_package_computes_the_same_fingerprint(name: str) -> None:
    """An independent implementation of the parsing canonical form and of CRC-64-AVRO agrees.

    Without logical types: of {"type": "long", "logicalType": …} the avro package keeps {"type":"long"}, where the
    specification's [PRIMITIVES], Java and fastavro have "long". The test below holds us to the latter.
    """
    schema = schemas.schema(name)
    parsed = avro.schema.parse(json.dumps(schemas.without_logical_types(schema.source)))
    assert parsed.fingerprint("CRC-64-AVRO") == schema.fingerprint


@pytest.mark.parametrize("name", sorted(schemas.current()))
def test_a_logical_type_changes_no_fingerprint(name: str) -> None:
    source = schemas.schema(name).source
    assert schemas.fingerprint_of(schemas.without_logical_types(source)) == schemas.fingerprint_of(source)


def test_the_canonical_form_ignores_docs_and_defaults() -> None:
    source = {"type": "record", "name": "R", "doc": "x", "fields": [{"name": "a", "type": "long", "default": 0}]}
    bare = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
    assert schemas.fingerprint_of(source) == schemas.fingerprint_of(bare)


def test_the_fingerprint_is_little_endian_as_single_object_encoding_wants_it() -> None:
    """CRC-64-AVRO of the schema "null" is 0x63dd24e7cc258f8a (avro: share/test/data/schema-tests.txt)."""
    assert schemas.fingerprint_of("null") == bytes.fromhex("8a8f25cce724dd63")  # type: ignore[arg-type]


def test_an_unknown_fingerprint_is_refused_with_the_way_out() -> None:
    with pytest.raises(UnknownSchema, match=r"0011223344556677 is of no schema[^$]* configure the schema registry"):
        schemas.by_fingerprint(bytes.fromhex("0011223344556677"))

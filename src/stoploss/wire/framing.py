"""What stands before a datum: Avro single-object encoding, Confluent's framing, or nothing but JSON.

C3 01 + 8-byte fingerprint   Avro single-object encoding
00 + 4-byte schema id        Confluent's, with a schema registry
{                            a JSON object
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stoploss.errors import MalformedRecord

SINGLE_OBJECT = b"\xc3\x01"
CONFLUENT = b"\x00"
SINGLE_OBJECT_SIZE = 10
CONFLUENT_SIZE = 5


@dataclass(frozen=True, slots=True)
class Framing:
    """How a value is framed, and which schema it names.

    kind  single_object | confluent | json
    mark  fingerprint (8 bytes), schema id (4 bytes, big-endian), or empty for JSON
    size  bytes before the datum
    """

    kind: Literal["single_object", "confluent", "json"]
    mark: bytes
    size: int


JSON = Framing("json", b"", 0)


def framing_of(value: bytes | None) -> Framing:
    """Framing of a Kafka value; raises MalformedRecord where it has none that stoploss reads."""
    if not value:
        raise MalformedRecord("the value is empty; send Avro single-object, Confluent framing or a JSON object")
    if value[:2] == SINGLE_OBJECT and len(value) >= SINGLE_OBJECT_SIZE:
        return Framing("single_object", value[2:SINGLE_OBJECT_SIZE], SINGLE_OBJECT_SIZE)
    if value[:1] == CONFLUENT and len(value) >= CONFLUENT_SIZE:
        return Framing("confluent", value[1:CONFLUENT_SIZE], CONFLUENT_SIZE)
    if value[:1] == b"{":
        return JSON
    raise MalformedRecord(
        f"the value starts with {value[:2].hex()} and has {len(value)} bytes; known starts are c301 (Avro "
        "single-object, 10 bytes), 00 (Confluent, 5 bytes) and 7b (a JSON object)"
    )


def single_object(fingerprint: bytes, datum: bytes) -> bytes:
    return SINGLE_OBJECT + fingerprint + datum

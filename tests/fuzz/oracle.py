"""What a record is worth, told by nothing that intake uses but the schemas: a strict Avro reader, fastavro and json.

The strict reader knows the specification alone. What it reads is valid. What it cannot read and fastavro cannot either
is bad. Where an encoder breaks the specification in a way that a reader may overlook (a boolean of 2, an index beyond
its union, an int of 33 bits), either answer is right.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

import fastavro

from stoploss.wire import schemas
from stoploss.wire.schemas import Schema
from tests.fuzz.corpus import REGISTRY, Record

LARGEST_BYTES = 1 << 20
LARGEST_BARE_BYTES = 65_536
LONGEST_JSON_NESTING = 150
LARGEST = {"latency_ms": (2**40 - 1) / 1_000, "time_to_first_token_ms": (2**40 - 1) / 1_000}
LARGEST |= {f"{name}_tokens": 2**40 - 1 for name in ("input", "output", "cached", "reasoning")}
LARGEST |= {"cost_usd": (2**40 - 1) / 1e9}
LARGEST_SCORE = (2**40 - 1) / 1e6
DAYS = {"trace": 1, "outcome": 90}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
DAY, MINUTE = 86_400_000_000, 60_000_000


class Bad(Exception):
    """No record, or none that can be believed."""


class Either(Exception):
    """The encoder broke the specification; a reader may overlook it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    worth: Literal["valid", "untimely", "bad", "bare", "either"]
    record: Record | None = None


def judged(value: bytes | None, kind: str, broker_at: int) -> Verdict:
    try:
        record = _read(value, kind)
    except Bad:
        return Verdict("bad")
    except Either:
        return Verdict("either")
    if not _is_believable(record, kind):
        return Verdict("bad")
    if kind == "outcome" and not record["assignments"]:
        return Verdict("bare" if len(value or b"") <= LARGEST_BARE_BYTES else "bad", record)
    timely = broker_at - DAYS[kind] * DAY <= record["at"] <= broker_at + MINUTE
    return Verdict("valid" if timely else "untimely", record)


# ---- framings --------------------------------------------------------------------------------------


def _read(value: bytes | None, kind: str) -> Record:
    if not value or len(value) > LARGEST_BYTES:
        raise Bad
    if value[:1] == b"{":
        return _from_json(value, kind)
    if value[:2] == b"\xc3\x01" and len(value) >= 10:
        writer = _landed(kind).get(value[2:10])
        body = value[10:]
    elif value[:1] == b"\x00" and len(value) >= 5:
        writer, body = REGISTRY[kind].get(int.from_bytes(value[1:5], "big")), value[5:]
    else:
        raise Bad
    if writer is None:
        raise Bad
    written = _strictly(body, writer, kind)
    return {name: written.get(name, default) for name, default in _defaults(kind).items()}


@cache
def _landed(kind: str) -> dict[bytes, Schema]:
    return {schema.fingerprint: schema for schema in [*schemas.landed()[kind], schemas.schema(kind)]}


@cache
def _defaults(kind: str) -> Record:
    return {field["name"]: field.get("default") for field in schemas.schema(kind).source["fields"]}


# ---- Avro ------------------------------------------------------------------------------------------


class _Strict:
    """Avro 1.12, "Binary Encoding", and nothing besides."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.skippable = data, 0, False

    def read(self, schema: Any) -> Any:
        if isinstance(schema, list):
            index = self.long()
            if not 0 <= index < len(schema):
                raise Either
            return self.read(schema[index])
        if isinstance(schema, str):
            return getattr(self, schema)()
        match schema["type"]:
            case "record":
                return {field["name"]: self.read(field["type"]) for field in schema["fields"]}
            case "array":
                return [self.read(schema["items"]) for _ in self.items()]
            case "map":
                return {self.string(): self.read(schema["values"]) for _ in self.items()}
            case "enum":
                index = self.long()
                if not 0 <= index < len(schema["symbols"]):
                    raise Either
                return schema["symbols"][index]
            case inner:
                return self.read(inner)

    def items(self) -> Any:
        while count := self.long():
            size = self.long() if count < 0 else None  # of the block in bytes: who does not need it skips so many
            self.skippable |= size is not None
            start = self.at
            for _ in range(abs(count)):
                yield None
            if size is not None and self.at - start != size:
                raise Either

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise Bad
        self.at += size
        return self.data[self.at - size : self.at]

    def null(self) -> None:
        return None

    def boolean(self) -> bool:
        (byte,) = self.take(1)
        if byte > 1:
            raise Either
        return bool(byte)

    def int(self) -> int:
        number = self.long()
        if not -(2**31) <= number < 2**31:
            raise Either
        return number

    def long(self) -> int:
        number = shift = 0
        while True:
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if number >= 2**64:
            raise Either
        return (number >> 1) ^ -(number & 1)

    def double(self) -> float:
        return float(struct.unpack("<d", self.take(8))[0])

    def string(self) -> str:
        try:
            return self.take(self.long()).decode()
        except UnicodeDecodeError as error:
            raise Bad from error


def _strictly(body: bytes, writer: Schema, kind: str) -> Record:
    strict = _Strict(body)
    try:
        record: Record = strict.read(writer.source)
        if strict.at == len(body):
            return record
    except Bad:
        pass
    if strict.skippable or any(_fastavro_reads(body, writer, reader) for reader in (None, schemas.schema(kind).parsed)):
        raise Either
    raise Bad


def _fastavro_reads(body: bytes, writer: Schema, reader: Any) -> bool:
    """With a reader's schema it skips what that does not ask for, and sees no fault there."""
    data = io.BytesIO(body)
    try:
        fastavro.schemaless_reader(data, writer.parsed, reader)
    except Exception:  # noqa: BLE001 - whatever it says, it does not read it
        return False
    return data.tell() == len(body)


# ---- JSON ------------------------------------------------------------------------------------------


def _from_json(value: bytes, kind: str) -> Record:
    if _nesting(value) > LONGEST_JSON_NESTING:
        raise Either  # how deep a parser goes is its own affair
    try:
        parsed = json.loads(value.decode(), parse_constant=_no_number)
    except ValueError as error:
        raise Bad from error
    schema = schemas.schema(kind)
    record = _plain(schema.source, parsed)
    if not fastavro.validation.validate(record, schema.parsed, raise_errors=False):
        raise Bad
    return {name: record.get(name, default) for name, default in _defaults(kind).items()}


def _nesting(value: bytes) -> int:
    depth = deepest = 0
    for byte in value.translate(None, _NO_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _plain(schema: Any, value: Any) -> Any:
    """Times and objects of pairs as the schema has them, text held to be text; unknown keys are left out."""
    if isinstance(schema, list):
        return None if value is None else _plain(next(branch for branch in schema if branch != "null"), value)
    if isinstance(schema, str):
        return _plain_scalar(value)
    match schema["type"]:
        case "record" if isinstance(value, dict):
            known = {field["name"]: field["type"] for field in schema["fields"]}
            return {name: _plain(known[name], held) for name, held in value.items() if name in known}
        case "array":
            names = {field["name"] for field in schema["items"].get("fields", ())}
            if isinstance(value, dict) and names in ({"key", "value"}, {"name", "value"}):
                (first,) = names - {"value"}
                value = [{first: key, "value": held} for key, held in value.items()]
            return [_plain(schema["items"], item) for item in value] if isinstance(value, list) else value
        case "long" if isinstance(value, str):
            return _micros(value)
        case _:
            return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    try:
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, int):
            float(value)
    except (UnicodeEncodeError, OverflowError) as error:
        raise Bad from error
    return value


def _micros(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Bad from error
    if moment.tzinfo is None:
        raise Bad
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


# ---- belief ----------------------------------------------------------------------------------------


def _is_believable(record: Record, kind: str) -> bool:
    numbers = [(record.get(name), largest) for name, largest in LARGEST.items()]
    scores = [item["value"] for item in record.get("scores") or ()] + [
        record[name] for name in ("value",) if kind == "outcome"
    ]
    times_assigned = Counter(item["experiment"] for item in record["assignments"])
    return (
        1 <= len(record["trace_id"].encode()) <= 64
        and all(0 <= number <= largest for number, largest in numbers if number is not None)
        and all(math.isfinite(score) and abs(score) <= LARGEST_SCORE for score in scores)
        and all(times == 1 for times in times_assigned.values())
    )

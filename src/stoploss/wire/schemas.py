"""The Avro schemas: the current ones, and every version that ever landed, by fingerprint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from stoploss.errors import UnknownSchema
from stoploss.resources import data_path

JsonSchema = dict[str, Any]
OTHERS: dict[bytes, Schema] = {}
"""Schemas of other versions of stoploss, as far as this process had to ask for them."""


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of one record.

    name         file name without ending, such as "trace"
    source       the schema as written, docs and logical types included
    parsed       fastavro's form, without logical types: times stay integers
    fingerprint  CRC-64-AVRO of the canonical form, 8 bytes little-endian as single-object encoding wants them
    """

    name: str
    source: JsonSchema
    parsed: Any
    fingerprint: bytes


def without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(item) for item in schema]
    return schema


def fingerprint_of(source: JsonSchema) -> bytes:
    """CRC-64-AVRO of the parsing canonical form, little-endian.

    Source: Avro specification 1.12, "Schema Fingerprints" and "Single-object encoding".
    """
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(source), "CRC-64-AVRO"))


def read_schema(path: Path, name: str) -> Schema:
    return schema_of(name, json.loads(path.read_text()))


def schema_of(name: str, source: JsonSchema) -> Schema:
    parsed = fastavro.parse_schema(without_logical_types(source))
    return Schema(name, source, parsed, fingerprint_of(source))


@cache
def schema(name: str) -> Schema:
    """The current version of a record, by file name."""
    return read_schema(data_path("schemas", f"{name}.avsc"), name)


@cache
def current() -> dict[str, Schema]:
    return {path.stem: schema(path.stem) for path in sorted(data_path("schemas").glob("*.avsc"))}


@cache
def landed() -> dict[str, list[Schema]]:
    """Every version that ever landed, oldest first: schemas/history/NAME/NNNN.avsc."""
    history: dict[str, list[Schema]] = {}
    for path in sorted(data_path("schemas", "history").glob("*/*.avsc")):
        history.setdefault(path.parent.name, []).append(read_schema(path, path.parent.name))
    return history


@cache
def _by_fingerprint() -> dict[bytes, Schema]:
    versions = [version for line in landed().values() for version in line]
    return {version.fingerprint: version for version in [*versions, *current().values()]}


def by_fingerprint(mark: bytes) -> Schema:
    """The schema that a single-object header names."""
    found = _by_fingerprint().get(mark)
    if found is None:
        raise UnknownSchema(
            f"fingerprint {mark.hex()} is of no schema that this version knows; "
            "send the schema of schemas/, or configure the schema registry that holds yours"
        )
    return found


Lookup = Callable[[], Mapping[bytes, Schema]]
_lookups: list[Lookup] = []


def ask_others_by(lookup: Lookup) -> None:
    """Where this process asks, from now on, for the schemas of other versions."""
    _lookups[:] = [lookup]


def shared(mark: bytes) -> Schema:
    """As by_fingerprint, for what stoploss itself has written: a newer version may have, while both run."""
    if mark not in _by_fingerprint() and mark not in OTHERS:
        for lookup in _lookups:
            OTHERS.update(lookup())
    return OTHERS[mark] if mark in OTHERS else by_fingerprint(mark)

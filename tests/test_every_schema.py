"""The contract: every record has its class, every class its record, and no version ever locks out another."""

from __future__ import annotations

import dataclasses
import io
import json
import types
from collections.abc import Iterator
from enum import Enum
from itertools import count
from typing import Any, Union, get_args, get_origin, get_type_hints

import avro.schema
import fastavro
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from stoploss import journal
from stoploss.checkpoints import Checkpoint
from stoploss.commands import Ack, Command
from stoploss.contracts import FULL
from stoploss.intake.begun import AssignmentCount
from stoploss.intake.dead_letters import DeadLetter
from stoploss.journal import Conclusion, JournalEntry, Spend, SpendEntry
from stoploss.leases import Lease
from stoploss.ledger import FACTS
from stoploss.measures import Measure
from stoploss.registry import RegistryEntry
from stoploss.wire import records, schemas
from stoploss.wire.framing import single_object

CLASSES: dict[str, type] = {
    **FACTS,
    "journal_entry": JournalEntry,
    "spend_entry": SpendEntry,
    "command": Command,
    "ack": Ack,
    "checkpoint": Checkpoint,
    "measure": Measure,
    "registry_entry": RegistryEntry,
    "dead_letter": DeadLetter,
    "lease": Lease,
    "assignment_count": AssignmentCount,
}
# Decoded into columns at intake: no class of their own.
WITHOUT_CLASS = {"trace", "outcome"}

# Costs have a schema of their own.
CONCLUSIONS = [kind for kind in get_args(Conclusion) if kind is not Spend]

BACKWARD = {"journal_entry", "command", "ack", "lease", "dead_letter", "registry_entry", "measure", "assignment_count"}
BACKWARD |= {"spend_entry"}

NAMES = sorted(schemas.current())


def test_every_schema_is_of_a_class_or_known_to_have_none_and_has_a_rule_of_evolution() -> None:
    assert set(NAMES) == set(CLASSES) | WITHOUT_CLASS == FULL | BACKWARD
    assert not FULL & BACKWARD


# ---- classes and records ---------------------------------------------------------------------------


def members(hint: Any) -> list[Any]:
    """Alternatives of a union without None; of any other hint, itself."""
    if get_origin(hint) in (Union, types.UnionType):
        return [member for member in get_args(hint) if member is not type(None)]
    return [hint]


def filled(hint: Any, numbers: Iterator[int]) -> Any:
    """A value of a type, every part of it with a value of its own."""
    [hint, *_] = members(hint)
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return hint(**{f.name: filled(hints[f.name], numbers) for f in dataclasses.fields(hint)})
    if origin is tuple:
        return (filled(args[0], numbers), filled(args[0], numbers))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return list(hint)[-1]
    number = next(numbers)
    return {str: f"text {number}", int: number, float: number + 0.5, bool: True, bytes: bytes([number])}[hint]


def emptied(value: Any) -> Any:
    """The same, with None where a field may be None and nothing in its lists."""
    hints = get_type_hints(type(value))
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        hint, now = hints[field.name], getattr(value, field.name)
        if type(None) in get_args(hint):
            changes[field.name] = None
        elif isinstance(now, tuple):
            changes[field.name] = ()
        elif dataclasses.is_dataclass(now):
            changes[field.name] = emptied(now)
    return dataclasses.replace(value, **changes)


def samples(name: str) -> list[Any]:
    kind = CLASSES[name]
    if kind is not JournalEntry:
        return [filled(kind, count(1))]
    entry = filled(JournalEntry, count(1))
    return [dataclasses.replace(entry, conclusion=filled(member, count(50))) for member in CONCLUSIONS]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_record_comes_back_from_the_wire_as_it_was(name: str) -> None:
    for full in samples(name):
        for record in (full, emptied(full)):
            assert records.decode(records.encode(name, record), {name: CLASSES[name]}) == record


def record_of(schema: Any) -> Any:
    """The record inside an array or a union with null."""
    if isinstance(schema, list):
        [schema] = [member for member in schema if member != "null"]
    return record_of(schema["items"]) if isinstance(schema, dict) and schema.get("type") == "array" else schema


def differences(kind: type, schema: Any) -> Iterator[str]:
    """Where a class and a record do not have the same fields in the same order."""
    hints, fields = get_type_hints(kind), {f["name"]: f["type"] for f in schema["fields"]}
    if list(fields) != [f.name for f in dataclasses.fields(kind)]:
        yield f"{kind.__name__} has {[f.name for f in dataclasses.fields(kind)]}, the schema {list(fields)}"
        return
    for name, hint in hints.items():
        inner = hint if get_origin(hint) is not tuple else get_args(hint)[0]
        choices = CONCLUSIONS if hint == Conclusion else members(inner)
        if len(choices) > 1:
            by_name = {record["name"]: record for record in fields[name]}
            if list(by_name) != [choice.__name__ for choice in choices]:
                yield f"{kind.__name__}.{name} may be {[c.__name__ for c in choices]}, in the schema {list(by_name)}"
            for choice in choices:
                yield from differences(choice, by_name[choice.__name__])
        elif dataclasses.is_dataclass(choices[0]) and isinstance(record_of(fields[name]), dict):
            yield from differences(choices[0], record_of(fields[name]))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_class_and_record_have_exactly_the_same_fields(name: str) -> None:
    assert list(differences(CLASSES[name], schemas.schema(name).source)) == []


def test_a_field_that_is_missing_in_the_schema_is_noticed() -> None:
    source = json.loads(json.dumps(schemas.schema("tick").source))
    source["fields"] = source["fields"][:-1]
    assert list(differences(CLASSES["tick"], source)) == ["Tick has ['partition', 'owner'], the schema ['partition']"]


# ---- words -----------------------------------------------------------------------------------------


def fields_of(schema: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every field of every record inside a schema."""
    if isinstance(schema, list):
        for member in schema:
            yield from fields_of(member, path)
    elif isinstance(schema, dict):
        for field in schema.get("fields", []):
            yield f"{path}.{field['name']}", field
            yield from fields_of(field["type"], f"{path}.{field['name']}")
        for inner in ("items", "type", "values"):
            yield from fields_of(schema.get(inner), path)


EVERY_FIELD = [pair for name in NAMES for pair in fields_of(schemas.schema(name).source, name)]


def test_every_field_and_every_record_says_what_it_is() -> None:
    assert len(EVERY_FIELD) > 150
    assert [path for path, field in EVERY_FIELD if not field.get("doc", "").strip()] == []
    assert [name for name in NAMES if not schemas.schema(name).source.get("doc")] == []


UNITS = {"_ms": "millisecond", "_usd": "US dollar", "_tokens": "token"}


def test_a_field_whose_name_carries_a_unit_says_it_in_words() -> None:
    found = [
        (path, field["doc"], word) for path, field in EVERY_FIELD for end, word in UNITS.items() if path.endswith(end)
    ]
    assert len(found) >= 7
    assert [(path, doc) for path, doc, word in found if word not in doc] == []


def is_time(schema: Any) -> bool:
    choices = schema if isinstance(schema, list) else [schema]
    return any(isinstance(choice, dict) and choice.get("logicalType") == "timestamp-micros" for choice in choices)


def test_every_time_is_in_microseconds_and_says_so() -> None:
    times = [(path, field["doc"]) for path, field in EVERY_FIELD if is_time(field["type"])]
    assert len(times) >= 10
    assert [pair for pair in times if "microseconds since 1970" not in pair[1]] == []
    named = [(path, field) for path, field in EVERY_FIELD if path.endswith((".at", "_at")) and field["type"] != "bytes"]
    assert [path for path, field in named if not is_time(field["type"])] == []


def test_all_names_stand_in_one_namespace() -> None:
    assert {schemas.schema(name).source["namespace"] for name in NAMES} == {"dev.stoploss"}


# ---- evolution -------------------------------------------------------------------------------------


def parsed(source: Any) -> avro.schema.Schema:
    return avro.schema.parse(json.dumps(source))


def unreadable(reader: Any, writer: Any) -> list[str]:
    """Why values of one version cannot be read by another."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(parsed(reader), parsed(writer))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return [f"{', '.join(sorted(result.locations))}: {', '.join(sorted(result.messages))}"]


def refusals(name: str, new: Any, old: Any) -> list[str]:
    """Why a schema may not take the place of one that has landed, with the way out."""
    found = [f"new readers cannot read what was written before: {why}" for why in unreadable(new, old)]
    if name in FULL:
        found += [f"readers that are still running cannot read what comes: {why}" for why in unreadable(old, new)]
    return [
        f"schemas/{name}.avsc: {why}. Give a new field a default, leave an old one in place and say in its doc that it "
        "is no longer read, and give a changed one a new name"
        for why in found
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_current_schema_goes_with_every_version_that_landed(name: str) -> None:
    found = [
        why for old in schemas.landed().get(name, []) for why in refusals(name, schemas.schema(name).source, old.source)
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("name", NAMES)
def test_the_current_schema_has_landed(name: str) -> None:
    versions = schemas.landed().get(name, [])
    assert versions, f"copy schemas/{name}.avsc to schemas/history/{name}/0001.avsc: from then on it is a promise"
    assert versions[-1].fingerprint == schemas.schema(name).fingerprint, (
        f"schemas/{name}.avsc has changed: copy it to schemas/history/{name}/{len(versions) + 1:04}.avsc, "
        "and leave the versions before as they are"
    )


def test_nothing_has_landed_under_an_unknown_name() -> None:
    assert set(schemas.landed()) <= set(NAMES)


def changed(name: str, change: dict[str, Any]) -> Any:
    """A schema with a change to its first field, or without it, or with one more."""
    source = json.loads(json.dumps(schemas.schema(name).source))
    if "added" in change:
        source["fields"].append(change["added"])
    elif change.get("removed"):
        del source["fields"][0]
    else:
        source["fields"][0].update(change)
    return source


NEW = {"name": "new", "type": "long", "doc": "new"}


@pytest.mark.parametrize(
    ("name", "change", "allowed"),
    [
        ("tick", {"added": {**NEW, "default": 0}}, True),
        ("tick", {"added": NEW}, False),
        ("tick", {"removed": True}, False),
        ("tick", {"type": "string"}, False),
        ("tick", {"name": "ledger_partition"}, False),
        ("tick", {"type": "long"}, False),
        ("ack", {"type": ["null", "string"]}, True),
        ("ack", {"removed": True}, True),
        ("ack", {"added": NEW}, False),
        ("request", {"removed": True}, False),
    ],
)
def test_a_change_that_locks_somebody_out_is_refused(name: str, change: dict[str, Any], allowed: bool) -> None:
    found = refusals(name, changed(name, change), schemas.schema(name).source)
    assert (found == []) == allowed
    assert all(why.startswith(f"schemas/{name}.avsc: ") and "Give a new field a default" in why for why in found)


def test_the_journal_may_conclude_more_than_before_and_never_less() -> None:
    """FULL would forbid both: an old reader knows no schema but its own, so a new conclusion is upgraded for first."""
    now = schemas.schema("journal_entry").source
    *_, conclusion = now["fields"]
    fewer = json.loads(json.dumps(now))
    fewer["fields"][-1]["type"] = conclusion["type"][:-1]
    assert refusals("journal_entry", now, fewer) == []
    assert refusals("journal_entry", fewer, now) != []


def datum(schema: Any, named: dict[str, Any]) -> Any:
    """Some value of an Avro schema: the last of a union, one item in a list."""
    if isinstance(schema, list):
        return datum(schema[-1], named)
    if isinstance(schema, str):
        plain = {"string": "text", "long": 7, "int": 7, "double": 0.5, "float": 0.5, "boolean": True, "bytes": b"x"}
        return None if schema == "null" else plain[schema] if schema in plain else datum(named[schema], named)
    if schema.get("name"):
        named[schema["name"]] = named[f"dev.stoploss.{schema['name']}"] = schema
    match schema["type"]:
        case "record":
            return {field["name"]: datum(field["type"], named) for field in schema["fields"]}
        case "array":
            return [datum(schema["items"], named)]
        case "map":
            return {"key": datum(schema["values"], named)}
        case "enum":
            return schema["symbols"][-1]
        case "fixed":
            return bytes(schema["size"])
        case inner:
            return datum(inner, named)


LANDED = [(name, number) for name, versions in sorted(schemas.landed().items()) for number in range(len(versions))]


@pytest.mark.parametrize(("name", "number"), LANDED)
def test_values_of_every_version_that_landed_are_still_read(name: str, number: int) -> None:
    version = schemas.landed()[name][number]
    out, written = io.BytesIO(), datum(version.source, {})
    fastavro.schemaless_writer(out, version.parsed, written)
    if name in CLASSES:
        value = single_object(version.fingerprint, out.getvalue())
        read = records.plain(records.decode(value, {name: CLASSES[name]}))
    else:
        out.seek(0)
        read = fastavro.schemaless_reader(out, version.parsed, schemas.schema(name).parsed)
    first = schemas.schema(name).source["fields"][0]["name"]
    assert read[first] == written[first]


# CRC-64-AVRO of what has landed: a change of these numbers is a change of what stands in every topic.
FINGERPRINTS: dict[str, str] = {
    "spend_entry": "73c1ae00b20db189",
    "ack": "7fff9e4de8870222",
    "ack_overdue": "5c464a40710fbfd4",
    "ack_received": "f05faafbd5bf20bc",
    "assignment_count": "a25f0ab6dab6cb16",
    "checkpoint": "a370d8bf36dd7a33",
    "assignments_counted": "c2837051af58eee9",
    "command": "f45ec53704b4d222",
    "dead_letter": "047eeac6cd7c1f17",
    "evidence_block": "72d999c316135a83",
    "journal_entry": "446923cd2e1076f9",
    "judge_version": "c3ecf56bc735781b",
    "lease": "d85551c3695b337e",
    "measure": "798829e3afb393d7",
    "outcome": "ecb0f36f76ddf5af",
    "registry_entry": "370215335c40ca68",
    "request": "67d55536359a8857",
    "source_status": "c47e3e901da5a2dd",
    "tick": "89342d911edd2169",
    "trace": "a47ebfb28794aeaa",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_of_the_first_version_is_what_it_was(name: str) -> None:
    assert schemas.landed()[name][0].fingerprint.hex() == FINGERPRINTS[name]


def test_the_journal_names_its_conclusions_as_the_schema_does() -> None:
    entry = samples("journal_entry")[0]
    read = journal.decode(journal.encode(entry))
    assert type(read.conclusion) is get_args(Conclusion)[0]

"""stoploss schemas: without a registry it says so, with the real one it registers, compares, and tells of refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stoploss.contracts import Subject, subjects
from stoploss.errors import SchemaRefused
from stoploss.topics import Names
from stoploss.wire import schemas
from stoploss.wire.registry_address import RegistryAddress
from stoploss.wire.subjects import Subjects
from streams.schema_registry import SchemaRegistry
from tests import apicurio
from tests.cli.conftest import Program

BOTH = pytest.mark.parametrize("command", ["push", "check"])
real = pytest.mark.slow


@BOTH
def test_without_an_address_the_setting_is_named(stoploss: Program, command: str) -> None:
    ended = stoploss("schemas", command)
    assert ended.code == 1
    assert "--registry http://host:8081, or set STOPLOSS_SCHEMA_REGISTRY" in ended.sentence


@BOTH
def test_a_registry_that_is_down_is_named_in_one_sentence(stoploss: Program, command: str) -> None:
    ended = stoploss("schemas", command, "--registry", "http://127.0.0.1:1/api")
    assert ended.code == 1
    assert "the schema registry http://127.0.0.1:1/api cannot be asked" in ended.sentence


def test_an_address_that_is_none_is_refused(stoploss: Program) -> None:
    ended = stoploss("schemas", "check", "--registry", "broker:8081")
    assert ended.code == 1
    assert "STOPLOSS_SCHEMA_REGISTRY" in ended.sentence


# ---- the real one ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return apicurio.unpack(tmp_path_factory.mktemp("apicurio"))


@pytest.fixture(scope="module")
def registry(program: Path) -> Iterator[str]:
    with apicurio.running(program) as url:
        yield url


def told(stoploss: Program, command: str, url: str, code: int, prefix: str) -> dict[str, dict[str, Any]]:
    """What it says of each subject. Each test has topics, and so subjects, of its own."""
    ended = stoploss.set(topic_prefix=prefix)("schemas", command, "--registry", url, "--json")
    assert ended.code == code, ended.out + ended.err
    shown = json.loads(ended.out)
    assert shown["good"] == (code == 0)
    return {row["subject"]: row for row in shown["subjects"]}


def states(found: dict[str, dict[str, Any]]) -> set[str]:
    return {row["state"] for row in found.values()}


def with_field(record: str, **field: object) -> Any:
    source = json.loads(json.dumps(schemas.schema(record).source))
    source["fields"].append({"name": "more", "type": "long", "doc": "more", **field})
    return source


@real
def test_what_is_missing_is_registered_once_and_is_then_there(stoploss: Program, registry: str) -> None:
    assert states(told(stoploss, "check", registry, 3, "a.")) == {"missing"}
    pushed = told(stoploss, "push", registry, 0, "a.")
    assert states(pushed) == {"registered"}
    checked = told(stoploss, "check", registry, 0, "a.")
    assert states(checked) == states(told(stoploss, "push", registry, 0, "a.")) == {"there"}
    for subject in subjects(Names("a.")):
        assert checked[subject.name]["compatibility"] == subject.compatibility
        assert checked[subject.name]["schema_id"] == pushed[subject.name]["schema_id"]


@real
def test_each_level_lets_through_what_it_promises_and_nothing_else(stoploss: Program, registry: str) -> None:
    told(stoploss, "push", registry, 0, "b.")
    there = Subjects(RegistryAddress(registry))
    for subject in (Subject("b.traces-value", "trace"), Subject("b.acks-value", "ack")):
        assert there.refusals(subject.name, with_field(subject.record)) != []
        with pytest.raises(SchemaRefused):
            there.register(subject.name, with_field(subject.record))
        assert there.refusals(subject.name, with_field(subject.record, default=0)) == []
    fewer = json.loads(json.dumps(schemas.schema("trace").source))
    required = next(field for field in fewer["fields"] if "default" not in field)
    fewer["fields"].remove(required)
    assert there.refusals("b.traces-value", fewer) != []
    lighter = json.loads(json.dumps(schemas.schema("ack").source))
    lighter["fields"].remove(next(field for field in lighter["fields"] if "default" not in field))
    assert there.refusals("b.acks-value", lighter) == []


@real
def test_a_refusal_is_told_in_words_and_the_others_are_registered(stoploss: Program, registry: str) -> None:
    there = Subjects(RegistryAddress(registry))
    foreign = {"type": "record", "name": "Ack", "namespace": "com.example", "fields": [{"name": "a", "type": "int"}]}
    there.register("c.acks-value", foreign)
    there.demand("c.acks-value", "FULL_TRANSITIVE")
    for command in ("check", "push"):
        row = told(stoploss, command, registry, 3, "c.")["c.acks-value"]
        assert row["state"] == "refused"
        assert row["why"].startswith("schemas/ack.avsc does not go with what is registered: ")
        assert "Somebody registered another schema under this name" in row["why"]
        assert "give a new field a default" in row["why"]
    assert states(told(stoploss, "check", registry, 3, "c.")) == {"there", "refused"}


@real
def test_a_level_that_somebody_changed_is_told_and_set_again(stoploss: Program, registry: str) -> None:
    told(stoploss, "push", registry, 0, "d.")
    Subjects(RegistryAddress(registry)).demand("d.traces-value", "NONE")
    row = told(stoploss, "check", registry, 3, "d.")["d.traces-value"]
    assert row["why"] == "its level is NONE, not FULL_TRANSITIVE; `stoploss schemas push` sets it"
    assert told(stoploss, "push", registry, 0, "d.")["d.traces-value"]["state"] == "registered"
    assert states(told(stoploss, "check", registry, 0, "d.")) == {"there"}


@real
def test_ids_are_looked_up_and_known_ones_go_on_when_the_registry_is_gone(program: Path) -> None:
    with apicurio.running(program) as url:
        schema_id = Subjects(RegistryAddress(url)).register("traces-value", schemas.schema("trace").source)
        resolve = SchemaRegistry(RegistryAddress(url))
        assert resolve(10_000_019) is None
        assert resolve.has_answered(10_000_019)
        found = resolve(schema_id)
    assert found is not None
    assert found.fingerprint == schemas.schema("trace").fingerprint
    assert resolve(schema_id) is found
    assert resolve(schema_id + 1) is None
    assert not resolve.has_answered(schema_id + 1)

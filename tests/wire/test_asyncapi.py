"""schemas/asyncapi.yaml: what the code says, valid AsyncAPI 3.1.0, and of every topic."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stoploss import asyncapi
from stoploss.contracts import CONTRACTS, subjects
from stoploss.topics import TOPICS, Names
from stoploss.wire import schemas

FILE = Path(__file__).parents[2] / "schemas" / "asyncapi.yaml"
# From the package @asyncapi/specs 6.11.1 (Apache-2.0): schemas/3.1.0.json.
SPECIFICATION = json.loads(gzip.decompress((Path(__file__).parent / "asyncapi-3.1.0.json.gz").read_bytes()))
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text())


VALIDATOR = jsonschema.validators.validator_for(SPECIFICATION)(SPECIFICATION)


def test_the_committed_file_is_what_the_code_says() -> None:
    assert FILE.read_text() == asyncapi.text(), "python -m stoploss.asyncapi > schemas/asyncapi.yaml"


def test_it_is_valid_by_the_specification() -> None:
    assert [error.message for error in VALIDATOR.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize("broken", [{"asyncapi": "3.1"}, {"channels": []}, {"info": {}}, {"topics": {}}])
def test_the_specification_refuses_what_is_not(broken: dict[str, Any]) -> None:
    least = {"asyncapi": "3.1.0", "info": {"title": "least", "version": "1"}}
    assert VALIDATOR.is_valid(least)
    assert not VALIDATOR.is_valid(least | broken)


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for item in node for found in references(item)]
    if isinstance(node, dict):
        return [node["$ref"]] if "$ref" in node else [found for item in node.values() for found in references(item)]
    return []


def leads_somewhere(reference: str) -> bool:
    file, _, path = reference.partition("#/")
    if file:
        return (FILE.parent / file).is_file()
    node: Any = DOCUMENT
    for part in path.split("/"):
        node = node.get(part) if isinstance(node, dict) else None
    return node is not None


def test_every_reference_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert len(found) > 3 * len(TOPICS)
    assert [reference for reference in found if not leads_somewhere(reference)] == []


def test_every_topic_has_its_channel_and_every_schema_its_topic() -> None:
    assert list(DOCUMENT["channels"]) == list(CONTRACTS)
    assert set(CONTRACTS) == set(TOPICS)
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == set(map(Names(), TOPICS))
    carried = {record for contract in CONTRACTS.values() for record in contract.records}
    assert carried == set(schemas.current())


@pytest.mark.parametrize("topic", CONTRACTS)
def test_a_message_has_its_headers_and_its_key(topic: str) -> None:
    contract = CONTRACTS[topic]
    for reference in DOCUMENT["channels"][topic]["messages"].values():
        message = DOCUMENT["components"]["messages"][reference["$ref"].rpartition("/")[2]]
        assert message.get("headers", {}).get("properties", {}).keys() == contract.headers.keys()
        key = message.get("bindings", {}).get("kafka", {}).get("key", {})
        assert key.get("description", "") == contract.key


def test_no_two_records_share_a_subject() -> None:
    found = [subject.name for subject in subjects(Names())]
    assert len(found) == len(set(found))

"""Registering: everything that is wrong is named at once, with line and field; what is not enforced is said."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stoploss import registry
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.store import inserts
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from tests.cli.conftest import Program
from tests.installation import Installation, registry_of
from tests.store import samples

EXAMPLES = Path(__file__).parents[2] / "examples"
FULL = EXAMPLES / "checkout-agent-model.yaml"
SMALL = EXAMPLES / "demo" / "answer-style-aa.yaml"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_every_violation_is_named_with_its_line_and_field(stoploss: Program, tmp_path: Path) -> None:
    text = SMALL.read_text()
    for right, wrong in [
        ("unit: prompt", "unit: poem"),
        ("do: pause", "do: dance"),
        ("detector: ADWIN", "detector: NOSE"),
    ]:
        assert right in text
        text = text.replace(right, wrong)
    lines = {word: number for number, line in enumerate(text.splitlines(), 1) for word in line.split()}
    ended = stoploss("register", written(tmp_path / "wrong.yaml", text))
    assert ended.code == 1
    told = {line.split(": ")[1] for line in ended.err.splitlines()}
    assert told == {
        f"line {lines['poem']}, spec.unit",
        f"line {lines['dance}}']}, spec.health.silence.do",
        f"line {lines['NOSE,']}, spec.drift[0].detector",
    }


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("absent.yaml", None, "No such file or directory"),
        ("latin.yaml", "größe: 1".encode("latin-1"), "write it in UTF-8"),
        ("empty.yaml", b"", "is empty"),
        ("broken.yaml", b"metadata: [", "line 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    stoploss: Program, name: str, content: bytes | None, why: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    ended = stoploss("register", name)
    assert ended.code == 1
    assert name in ended.sentence
    assert why in ended.sentence


def test_a_directory_is_no_spec(stoploss: Program, tmp_path: Path) -> None:
    assert stoploss("register", tmp_path).sentence == f"stoploss: {tmp_path} cannot be read: Is a directory"


def test_a_spec_is_registered_and_what_is_not_enforced_is_said(
    live: Program, installation: Installation, tmp_path: Path
) -> None:
    text = FULL.read_text().replace("checkout-agent-model", "registered-in-full")
    ended = live("register", written(tmp_path / "full.yaml", text), "--reason", "a test")
    assert ended.code == 0, ended.err
    first, second, *_ = ended.out.splitlines()  # behind them: what was registered before and is like it
    assert first == "registered-in-full is registered; begin with `stoploss start registered-in-full`"
    assert second.startswith("recorded, but not enforced by this version: approvals")
    entry = registry_of(installation.settings, "registered-in-full")
    assert entry is not None
    assert entry.spec == text


def test_a_registration_prints_what_is_like_it_and_how_that_ended(
    live: Program, clickhouse: EmbeddedClickHouse, tmp_path: Path
) -> None:
    """X6"""
    text = FULL.read_text()
    past = replace(
        samples.registry_entry("rolled_back", 1, "long-ago"), spec=text.replace("checkout-agent-model", "long-ago")
    )
    with closing(connect(clickhouse.url, database="registered_before")) as client:
        migrate(client)
        inserts.insert(client, inserts.encode("registry", samples.stored("registry", [registry.encode(past)])))
    file = written(tmp_path / "like.yaml", text.replace("checkout-agent-model", "like-long-ago"))
    ended = live.set(clickhouse_database="registered_before")("register", file)
    assert ended.code == 0, ended.err
    *_, heading, found = ended.out.splitlines()
    assert heading == "experiments of the past that are like it:"
    assert found.startswith("  long-ago (")
    assert "): rolled back, without a breach" in found


def test_as_json_the_answer_lists_what_is_not_enforced(live: Program, tmp_path: Path) -> None:
    text = FULL.read_text().replace("checkout-agent-model", "registered-as-json")
    answer = json.loads(live("register", written(tmp_path / "full.yaml", text), "--json").out)
    assert answer["accepted"] is True
    assert answer["experiment"] == "registered-as-json"
    assert any(left.startswith("approvals") for left in answer["not_enforced"])

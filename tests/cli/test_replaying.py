"""replay: identical is exit code 0 and says how much; a difference is 3 and shows both sides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoploss.store.client import connect
from streams.appender import Appender
from tests.cli.conftest import Program
from tests.installation import Installation, journal_of, messages, registry_of

SPEC = Path(__file__).parents[2] / "examples" / "demo" / "answer-style-aa.yaml"
NAME = "to-be-replayed"


@pytest.fixture
def stopped(live: Program, installation: Installation, tmp_path: Path) -> str:
    """An experiment with a short life, all of whose journal stands in ClickHouse."""
    if registry_of(installation.settings, NAME) is None:
        spec = tmp_path / "spec.yaml"
        spec.write_text(SPEC.read_text().replace("answer-style-aa", NAME))
        for arguments in (["register", str(spec)], ["start", NAME], ["stop", NAME]):
            assert live(*arguments).code == 0
    settings = installation.settings
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    count = "SELECT count() FROM journal_v WHERE experiment = {name:String}"

    def recorded() -> bool:
        (rows,) = client.query(count, parameters={"name": NAME}).result_rows
        return bool(rows[0] >= len(journal_of(settings, NAME)))

    installation.wait(recorded)
    client.close()
    return NAME


@pytest.mark.parametrize("source", ["kafka", "clickhouse"])
def test_a_replay_is_identical_from_either_store(live: Program, stopped: str, source: str) -> None:
    ended = live("replay", stopped, "--from", source)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith(f"journal entries replayed from {source}, identical byte for byte\n")


def test_as_json_a_replay_counts_both_sides(live: Program, installation: Installation, stopped: str) -> None:
    compared = json.loads(live("replay", stopped, "--json").out)
    assert compared["identical"] is True
    assert compared["stored"] == compared["replayed"] == len(journal_of(installation.settings, stopped))


def test_a_journal_that_was_tampered_with_is_exit_code_3(
    live: Program, installation: Installation, tmp_path: Path
) -> None:
    """Another experiment, for its journal is spoilt for good: its last entry stands there twice."""
    name = "tampered-with"
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.read_text().replace("answer-style-aa", name))
    assert live("register", spec).code == 0
    settings = installation.settings
    last = next(message for message in reversed(messages(settings, "journal")) if message.key() == name.encode())
    appender = Appender(settings.need_kafka())
    appender.append(settings.topics("journal"), last.value(), key=last.key(), partition=last.partition())
    appender.flush()
    ended = live("replay", name)
    number = len(journal_of(settings, name)) - 1
    assert ended.code == 3
    assert ended.out.splitlines()[0] == f"{name}: entry {number} of the journal differs"
    assert "  replayed: None" in ended.out.splitlines()


def test_an_unknown_experiment_is_answered_with_the_registered_ones(live: Program, stopped: str) -> None:
    ended = live("replay", "never-registered")
    assert ended.code == 1
    assert "experiment 'never-registered' is not registered; registered: " in ended.sentence
    assert stopped in ended.sentence


def test_a_store_that_holds_nothing_of_it_is_not_called_identical(live: Program, stopped: str) -> None:
    ended = live.set(clickhouse_database="somewhere_else")("replay", stopped, "--from", "clickhouse")
    assert ended.code == 1
    assert "Database somewhere_else does not exist" in ended.sentence

"""replay: identical is exit code 0 and says how much; a difference is 3 and shows both sides; other rules are told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stoploss import journal
from stoploss.archive.writing import Contents, write_archive
from stoploss.journal import Finding
from stoploss.store.client import connect
from streams.appender import Appender
from streams.partition_judge import this_version
from tests.cli.conftest import Program
from tests.installation import Installation, journal_of, messages, registry_of
from tests.test_replay import judged_by, rechained, stored
from tests.timelines import Timeline, spec, traces, with_gate

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
    assert [span["version"]["rules"] for span in compared["spans"]] == [this_version(0).rules]
    assert compared["stored"] == compared["replayed"] == len(journal_of(installation.settings, stopped))


def test_the_registered_rules_would_have_done_the_same(live: Program, stopped: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(SPEC.read_text().replace("answer-style-aa", NAME))
    found = json.loads(live("replay", stopped, "--rules", rules, "--json").out)["other_rules"]
    assert found["compared"]["recorded_spec"] == found["compared"]["other_spec"]
    (run,) = found["compared"]["runs"]
    assert [(rule["rule"], rule["change"]) for rule in run["rules"]] == [("a person", "same")]


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


# ---- from an archive, without Kafka or ClickHouse --------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An experiment that a gate has stopped, in an archive."""
    timeline = Timeline(spec("gates: [undeclared_tool]"))
    timeline.append(this_version(0))
    timeline.started()
    timeline.seconds(1)
    some = traces(100, seed=1)
    timeline.traces(with_gate(some, int(some.variant.argmax()), 3, "called deploy"))
    timeline.seconds(1)
    timeline.traces(traces(100, seed=2))
    timeline.seconds(3)
    path = tmp_path / "checkout.stoploss"
    entries = stored(timeline.entries)
    write_archive(path, Contents("checkout", 0, "stoploss.control", {}, entries, timeline.journal, (), ()))
    return path


def test_a_replay_is_identical_from_an_archive_alone(stoploss: Program, file: Path) -> None:
    ended = stoploss("replay", "checkout", "--from", file)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith(f"journal entries replayed from {file}, identical byte for byte\n")


def test_as_json_each_span_says_who_judged_it(stoploss: Program, file: Path) -> None:
    found = json.loads(stoploss("replay", "checkout", "--from", file, "--json").out)
    (span,) = found["spans"]
    assert (span["mine"], span["outcome"]) == (True, "reproduced")
    assert span["version"]["rules"] == this_version(0).rules


def test_who_judged_which_span_is_told_and_only_this_versions_own_difference_fails(
    stoploss: Program, tmp_path: Path
) -> None:
    mine = this_version(0)
    timeline = judged_by(replace(mine, stoploss="0.0.9", rules=mine.rules.replace("Gate@1", "Gate@0")), mine)
    first = next(
        entry.number for entry in map(journal.decode, timeline.journal) if isinstance(entry.conclusion, Finding)
    )
    values = rechained(timeline.journal, first, "in the words of 0.0.9")
    path = tmp_path / "two.stoploss"
    write_archive(path, Contents("checkout", 0, "stoploss.control", {}, stored(timeline.entries), values, (), ()))
    ended = stoploss("replay", "checkout", "--from", path)
    lines = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    assert lines[0] == f"checkout: entry {first} of the journal differs"
    assert f"judged by 0.0.9 with Gate@0: differs at entry {first}" in lines[1]
    assert "in the words of 0.0.9" in lines[2]
    assert lines[-1].endswith(f"judged by this version, {mine.stoploss}: reproduced")


def test_other_rules_are_a_table_a_document_and_a_picture(stoploss: Program, file: Path, tmp_path: Path) -> None:
    """V2: without the gate nobody would have been stopped."""
    rules, drawn = tmp_path / "other.yaml", tmp_path / "other.svg"
    rules.write_text(spec())
    asked = ("replay", "checkout", "--from", file, "--rules", rules)
    told = stoploss(*asked, "--picture", drawn)
    assert (told.code, told.err) == (0, "")
    assert "checkout: as recorded, and under other.yaml" in told.out
    assert "not stopped" in told.out
    assert drawn.read_text().startswith("<svg ")
    found = json.loads(stoploss(*asked, "--json").out)
    assert found["reproduction"]["identical"] is True
    (rule,) = found["other_rules"]["compared"]["runs"][0]["rules"]
    assert (rule["rule"], rule["change"], rule["other"]) == ("gate", "not stopped", None)
    assert found["other_rules"]["exposures_added"] == rule["exposures_added"] > 0


def test_rules_that_need_what_was_not_recorded_are_refused_one_sentence_each(
    stoploss: Program, file: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "other.yaml"
    rules.write_text(spec("segments: [tenant]\ndrift: [{metric: input_tokens}]"))
    ended = stoploss("replay", "checkout", "--from", file, "--rules", rules)
    assert ended.code == 1
    assert [line.partition("other.yaml: ")[2].split(" was not")[0] for line in ended.err.splitlines()] == [
        "metric: 'input_tokens'",
        "spec.segments: 'tenant'",
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("checkout", "--from", "nowhere"), "neither kafka nor clickhouse, nor a file"),
        (("checkout", "--picture", "a.svg"), "--rules FILE"),
        (("checkout", "--rules", "no.yaml", "--picture", "a.png"), "a.png is no .svg"),
        (("checkout", "--rules", "no.yaml"), "no.yaml"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(stoploss: Program, arguments: tuple[str, ...], named: str) -> None:
    ended = stoploss("replay", *arguments)
    assert ended.code == 1
    assert named in ended.sentence


def test_the_archive_of_another_experiment_is_refused(stoploss: Program, file: Path) -> None:
    ended = stoploss("replay", "another", "--from", file)
    assert ended.code == 1
    assert "the archive of 'checkout', not of 'another'" in ended.sentence

"""X6: failed experiments are knowledge: found by word, by what they changed and how they failed, and by likeness."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from stoploss import journal, registry
from stoploss.cli.knowledge import like, similar_lines
from stoploss.commands import Evidence, Segment
from stoploss.control.keys import create_keys
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.journal import Finding, JournalEntry, RequestHandled
from stoploss.knowledge.past import Failure, Known, Past, past
from stoploss.knowledge.similar import MOST_SIMILAR, similar
from stoploss.settings import Settings
from stoploss.signing import Signer
from stoploss.spec.file import parse_experiment
from stoploss.store import inserts
from stoploss.store.client import connect
from stoploss.store.stored import Stored
from tests.cli.conftest import Program, stoploss
from tests.incidents import world
from tests.store import samples
from tests.timelines import SPEC

__all__ = ["stoploss"]
AT = datetime(2026, 3, 1, tzinfo=UTC)
NEW = SPEC.replace("name: checkout,", "name: checkout-again,")


@pytest.fixture(scope="module")
def settings(clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A leak that was stopped, an experiment whose spec nobody can read, and what people said of a small tenant."""
    client = connect(clickhouse.url, database="knowledge")
    key = create_keys(tmp_path_factory.mktemp("keys")).private
    world.record(client, world.leaked(), Signer.load(key), None)
    for stream, found in samples.story().items():
        inserts.insert(client, inserts.encode(stream, found))
    said = [
        Finding("breach", "evidence_above_limit", "zebra latency", "page", replace(_evidence("tiny"), n_control=5)),
        RequestHandled("r-9", "note", "ada", True, "lesson: never skip the quokka test"),
    ]
    models = SPEC.replace("{name: small,", "{name: small, model: tiny-9,")
    for before, after in (
        ("name: checkout,", "name: modelled,"),
        ("unit: model", "unit: prompt"),
        ("smaller model", "x"),
    ):
        assert before in models
        models = models.replace(before, after)
    entry = replace(samples.registry_entry("stopped", 7, "modelled"), spec=models)
    inserts.insert(
        client, inserts.encode("registry", samples.stored("registry", [registry.encode(entry)], partition=9))
    )
    for number, conclusion in enumerate(said):
        entry = JournalEntry(f"{number:064x}", "checkout", 900 + number, 1, 1, samples.at(99), 0, 0, 0, "", conclusion)
        place = ("stoploss.journal", "uuid-of-more", 0, number, samples.at(99) // 1_000, b"checkout")
        inserts.insert(client, inserts.encode("journal", [Stored(*place, journal.encode(entry))]))
    yield Settings(clickhouse_url=clickhouse.url, clickhouse_database="knowledge")
    client.close()


def _evidence(tenant: str) -> Evidence:
    return samples.evidence(Segment("tenant", tenant))


@pytest.fixture
def asked(stoploss: Program, settings: Settings) -> Program:
    return stoploss.set(clickhouse_url=settings.clickhouse_url, clickhouse_database="knowledge")


def found(asked: Program, *arguments: str) -> list[str]:
    ended = asked("knowledge", *arguments, "--json")
    assert ended.code in (0, 3), ended.err
    return [one["experiment"] for one in json.loads(ended.out)]


# ---- by word ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "experiments"),
    [
        ("card number", ["checkout"]),
        ("CARD", ["checkout"]),
        ("quokka lesson", ["checkout"]),
        ("the smaller model", ["checkout", "modelled"]),
        ("armadillo", []),
        ("car", []),
        ("' OR 8128=8128 --", []),
    ],
)
def test_specs_findings_and_notes_are_found_by_whole_words(asked: Program, query: str, experiments: list[str]) -> None:
    """X6"""
    assert found(asked, query) == experiments


def test_who_has_most_of_the_words_comes_first(asked: Program) -> None:
    assert found(asked, "latency card number quokka")[0] == "checkout"
    assert found(asked, "latency higher")[0] == samples.NAME


def test_a_cell_that_is_too_small_to_be_read_is_not_found_by_its_sentence(asked: Program) -> None:
    assert found(asked, "zebra") == []
    assert found(asked, "--segment", "tenant=tiny") == []


def test_several_words_need_no_quotes(asked: Program) -> None:
    together, apart = asked("knowledge", "payment quokka"), asked("knowledge", "payment", "quokka")
    assert together.out == apart.out


def test_what_is_found_is_told_with_how_it_ended(asked: Program) -> None:
    ended = asked("knowledge", "quokka")
    first, second = ended.out.splitlines()
    assert first.startswith("checkout: running: gate pii_exposed was tripped by variant 'small'")
    assert second.endswith("quokka in request: lesson: never skip the quokka test")


def test_nothing_found_is_exit_code_3(asked: Program) -> None:
    ended = asked("knowledge", "armadillo")
    assert (ended.code, ended.out) == (3, "nothing recorded has that\n")


def test_a_search_for_nothing_is_refused(asked: Program) -> None:
    assert "say what to look for" in asked("knowledge").sentence


# ---- by what they changed and how they failed ------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "experiments"),
    [
        (["--failure", "pii_exposed"], {"checkout"}),
        (["--failure", "latency_ms"], {samples.NAME}),
        (["--segment", "tenant"], {"checkout"}),
        (["--unit", "model"], {"checkout", "modelled"}),
        (["--model", "tiny-9"], {"modelled"}),
        (["--model", "nobody-1"], set()),
        (["card", "--failure", "latency_ms"], set()),
    ],
)
def test_experiments_are_found_by_unit_segment_and_failure(
    asked: Program, arguments: list[str], experiments: set[str]
) -> None:
    """X6"""
    assert set(found(asked, *arguments)) == experiments


# ---- by likeness -----------------------------------------------------------------------------------


def test_a_new_experiment_is_told_what_is_like_it_and_how_that_ended(settings: Settings) -> None:
    """X6"""
    lines = similar_lines(like(settings, parse_experiment(NEW)))
    assert lines[0] == "experiments of the past that are like it:"
    assert lines[1].startswith("  checkout (unit model, tool search, metric resolved): running: gate pii_exposed")


def test_without_a_store_or_with_a_slow_one_a_registration_is_told_nothing() -> None:
    spec = parse_experiment(NEW)
    assert like(Settings(), spec) == []
    assert like(Settings(clickhouse_url="http://127.0.0.1:1"), spec) == []


def test_at_most_five_are_told_the_most_alike_first() -> None:
    spec = parse_experiment(NEW)
    near = [known(f"near-{number}", SPEC) for number in range(9)]
    far = known("far", SPEC.replace("search", "browse").replace("unit: model", "unit: prompt").replace("smaller", "x"))
    told = similar(spec, [far, *near])
    assert [one.experiment for one in told] == [f"near-{number}" for number in range(MOST_SIMILAR)]


def test_an_earlier_life_of_the_same_name_comes_first() -> None:
    other = SPEC.replace("name: checkout,", "name: checkout-again,").replace("search", "x")
    told = similar(parse_experiment(NEW), [known("near", SPEC), known("checkout-again", other)])
    assert (told[0].experiment, told[0].shared) == ("checkout-again", ("the name",))


def test_a_spec_that_cannot_be_read_any_more_is_known_by_its_name_and_its_failures() -> None:
    failure = Failure("old", "latency_ms", "tenant=acme", "latency_ms is worse", AT)
    told = past(Known("old", "no: spec", "rolled_back", 2, AT), [failure])
    assert told.traits["failure"] == {"latency_ms"}
    assert told.ended == "rolled back: latency_ms is worse"


def known(name: str, text: str) -> Past:
    return past(Known(name, text.replace("name: checkout,", f"name: {name},"), "stopped", 1, AT), [])

"""X3, R5: limits across experiments as people meet them: by the command line, through the topics of a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stoploss.cli import asking
from stoploss.console.parts import Console
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.journal import RequestHandled
from stoploss.ledger import Request
from stoploss.lifecycle import FREEZE
from stoploss.settings import Settings
from stoploss.wire import records
from streams.registrar import partition_for
from tests.cli.conftest import Ended, Program, stoploss
from tests.console.conftest import signed_in, words_of
from tests.governance.institution import LENIENT
from tests.installation import Installation, append_facts, appending, facts_of, installed, journal_of, registry_of
from tests.timelines import SPEC, Timeline, traces

__all__ = ["stoploss"]

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def house(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(kafka, tmp_path_factory.mktemp("limits")) as found:
        found.worker("registrar")
        found.worker("judge")
        yield found
        found.stop()


@pytest.fixture
def ask(stoploss: Program, house: Installation) -> Program:
    return stoploss.of(house.settings)


def registered(ask: Program, folder: Path, name: str, *edits: tuple[str, str]) -> str:
    text = SPEC.replace("name: checkout", f"name: {name}").replace("flag: checkout", f"flag: {name}")
    for before, after in edits:
        assert before in text, before
        text = text.replace(before, after)
    file = folder / f"{name}.yaml"
    file.write_text(text)
    ended = ask("register", file)
    assert ended.code == 0, ended.err
    return name


def lifecycle(house: Installation, name: str) -> str:
    entry = registry_of(house.settings, name)
    return entry.lifecycle if entry else ""


def in_the_console(house: Installation) -> str:
    """The words of its first page, without a ClickHouse."""
    with closing(Console.of(house.settings)) as console:
        return words_of(signed_in(console).get("/").text)


def restarted(house: Installation, role: str) -> None:
    """Killed, and started anew."""
    for found in house.roles:
        if found.arguments == ("worker", role) and found.running:
            found.kill()
    house.worker(role)


def test_the_line_is_stopped_in_every_partition_and_stays_so_over_a_restart(
    ask: Program, house: Installation, tmp_path: Path
) -> None:
    """X3"""
    one, two = (registered(ask, tmp_path, name) for name in ("line-one", "line-two"))
    assert {partition_for(name, 2) for name in (one, two)} == {0, 1}
    for name in (one, two):
        assert ask("start", name).code == 0
    assert "needs a reason" in ask("freeze", "-m", " ").sentence
    ended = ask("freeze", "-m", "the provider is down")
    assert ended.out.startswith("the line is stopped: nothing runs"), ended.err
    assert {lifecycle(house, name) for name in (one, two)} == {"paused"}
    told = [fact for fact in facts_of(house.settings) if isinstance(fact, Request) and fact.action == FREEZE]
    told = [fact for fact in told if fact.accepted]
    assert len({fact.request_id for fact in told}) == 1
    assert [fact.partition for fact in told] == [0, 1]
    restarted(house, "judge")
    refused = ask("resume", one)
    assert refused.code == 1
    assert "the line is stopped since " in refused.err
    assert ": the provider is down; a steward lifts it with `stoploss unfreeze`" in refused.err
    assert ask("status").out.startswith("The line is stopped since ")
    shown = json.loads(ask("status", "--json").out)
    assert {": the provider is down" in status["frozen"] for status in shown} == {True}
    assert "Nothing may run: the line is stopped since " in in_the_console(house)
    assert ask("unfreeze", "-m", "it is back").code == 0
    assert "the line is not stopped" in ask("unfreeze", "-m", "again").sentence
    assert {lifecycle(house, name) for name in (one, two)} == {"paused"}
    assert ask("resume", two).code == 0
    handled = [entry.conclusion for entry in journal_of(house.settings, two)]
    assert [said.action for said in handled if isinstance(said, RequestHandled)] == [
        "register", "start", "freeze", "unfreeze", "resume"
    ]  # fmt: skip


def test_what_runs_in_another_partition_is_in_the_way_until_it_ends(
    ask: Program, house: Installation, tmp_path: Path
) -> None:
    """X3: one of a group at a time, over a crash of the registrar, and free again with the end of the other."""
    group = ("owner: search-team", "owner: search-team, exclusive: [page]")
    one, two = (registered(ask, tmp_path, name, group) for name in ("group-one", "group-two"))
    assert {partition_for(name, 2) for name in (one, two)} == {0, 1}
    assert ask("start", one).code == 0
    why = f"{one} runs, and both are in the exclusive group 'page'; end it first"
    assert ask("start", two).sentence == f"stoploss: start of {two!r} is refused: {why}"
    restarted(house, "registrar")
    assert why in ask("start", two).sentence
    assert ask("stop", one).code == 0
    assert ask("start", two).code == 0
    assert f"{two} runs, and both" in ask("resume", one).sentence
    assert lifecycle(house, two) == "running"
    assert ask("stop", two).code == 0


def test_a_start_that_no_judge_has_answered_is_in_the_way_of_the_next(
    ask: Program, house: Installation, tmp_path: Path
) -> None:
    """X3: the registrar is killed with the request on its way, and the next one remembers it from the topics."""
    one, two = (registered(ask, tmp_path, f"waits-{n}", (f"flag: waits-{n}", "flag: page")) for n in ("one", "two"))
    settings = house.settings
    (judge,) = (role for role in house.roles if role.arguments == ("worker", "judge") and role.running)
    judge.kill()
    send(settings, asking.request_of("start", one, "asked while no judge runs"))
    house.wait(lambda: len(starts(settings)) == 1)
    restarted(house, "registrar")
    send(settings, asking.request_of("start", two, "asked while no judge runs"))
    house.wait(lambda: len(starts(settings)) == 2)
    first, second = starts(settings)
    assert (first.experiment, first.accepted) == (one, True)
    assert (second.experiment, second.accepted) == (two, False)
    assert f"{one} runs on the same traffic (surface page)" in (second.opinion or "")
    house.worker("judge")
    house.wait(lambda: lifecycle(house, one) == "running")
    assert lifecycle(house, two) == "registered"


def send(settings: Settings, request: Request) -> None:
    """Without waiting for an answer."""
    appender = appending(settings)
    appender.append(settings.topics("experiments"), records.encode("request", request), key=b"k", partition=0)
    appender.flush()


def starts(settings: Settings) -> list[Request]:
    """Those that were asked while no judge ran, in their order; of one that is told twice, the first."""
    asked = [fact for fact in facts_of(settings) if isinstance(fact, Request) and fact.action == "start"]
    told = {f.request_id: f for f in reversed(asked) if f.reason == "asked while no judge runs"}
    return sorted(told.values(), key=lambda fact: int((fact.source or "").rpartition("/")[2]))


def test_a_spent_budget_pauses_the_experiments_of_its_team_and_no_other(
    ask: Program, house: Installation, tmp_path: Path
) -> None:
    """R5, X3: once, over a crash of the registrar; and until the policy gives more."""
    spender, neighbour = "spender-one", "neighbour-one"
    registered(ask, tmp_path, spender)
    registered(ask, tmp_path, neighbour, ("owner: search-team", "owner: other-team"))
    for name in (spender, neighbour):
        assert ask("start", name).code == 0
    assert put_in_force(ask, tmp_path, "{perTeam: {limit: 5, period: 720h}}").code == 0
    spend(house, spender)
    house.wait(lambda: lifecycle(house, spender) == "paused")
    refused = ask("resume", spender)
    assert "the budget of team search-team is spent: 7.00 of 5.00 USD in the period that ends at " in refused.sentence
    assert refused.sentence.endswith("wait for the next one, or raise it in the policy")
    restarted(house, "registrar")
    assert "the budget of team search-team is spent" in ask("resume", spender).sentence
    assert "budget of team search-team: 7 of 5 USD spent (140 %), until " in ask("status").out
    lines = {line["name"]: line for line in json.loads(ask("budgets", "--json").out)}
    assert [lines[team]["exhausted"] for team in ("search-team", "other-team")] == [True, False]
    assert put_in_force(ask, tmp_path, "{perTeam: {limit: 50, period: 720h}}").code == 0
    assert ask("resume", spender).code == 0
    paused = {name: by_stoploss(house, name) for name in (spender, neighbour)}
    assert paused == {spender: [("pause", True)], neighbour: []}


def by_stoploss(house: Installation, name: str) -> list[tuple[str, bool]]:
    """What was asked for in its own name, and whether it was accepted."""
    handled = [entry.conclusion for entry in journal_of(house.settings, name)]
    return [
        (said.action, said.accepted) for said in handled if isinstance(said, RequestHandled) and said.by == "stoploss"
    ]


def put_in_force(ask: Program, folder: Path, budgets: str) -> Ended:
    file = folder / "policy.yaml"
    file.write_text(f"{LENIENT}  budgets: {budgets}\n")
    return ask("policy", file)


def spend(house: Installation, name: str) -> None:
    """Seven dollars, by seven traces of the treatment, as intake writes them."""
    spec = (registry_of(house.settings, name) or pytest.fail(name)).spec
    some = traces(7, seed=1)
    some.variant[:] = 1
    some.metrics["cost_usd"][:] = 1_000_000_000
    append_facts(house.settings, partition_for(name, 2), Timeline(spec).blocks(some))

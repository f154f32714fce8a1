"""The demo itself, small, and on a real request log where there is one: what it reports, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from grafana.pages import PAGES
from grafana.panel import Panel
from stoploss.demo.cast import CAST, HEADLINE, Part
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.lifecycle import LIVE
from stoploss.store.client import connect
from tests.demo.test_report import KEYS
from tests.store.grafana_macros import ALL, expand_macros

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(280)]

ROOT = Path(__file__).parents[2]
LOG = Path(os.environ.get("STOPLOSS_REQUEST_LOG", ROOT.parent / "shared" / "data" / "azure_llm_2023_conv.csv"))
LOG_REQUESTS = 19_366
HARMED = {part.experiment.name for part in CAST if part.harm != "aa"}
PANELS = [(page.name, panel) for page in PAGES for panel in page.panels]
VARIABLES = [(page.name, name) for page in PAGES for name in page.variables]
PAGE = {
    "dimension": "tenant",
    "value": ALL,
    "metric": "helpfulness",
    "guardrail": "error_rate",
    "business": "latency_ms",
}
NOTHING_IS_WRONG = {
    "Experiments that nobody watches",
    "Commands not applied",
    "Served after a stop",
    "Stops found false",
}
"""What they count is a fault that the demo does not have."""
MAY_BE_NOTHING = {
    "Exposure of the treatment": "it was stopped",
    "Budget burn": "its short window may end after the demo's few seconds of traffic",
    "Budget burn, of what acts": "the same",
    "Burn": "the same",
    "Sample ratio": "the split is the declared one",
}
"""Panels whose numbers may all be 0 in a demo that went as it should."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A demo that ran: its report, what stood on the terminal, and where its data are."""

    report: dict[str, Any]
    screen: str
    home: Path

    @property
    def experiments(self) -> dict[str, dict[str, Any]]:
        return {story["experiment"]: story for story in self.report["experiments"]}


def performed(home: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> Shown:
    """Runs `stoploss demo` as `make demo` does, in a process of its own without a terminal."""
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOPLOSS_")}
    done = subprocess.run(
        [sys.executable, "-m", "stoploss", "demo", *arguments, "--report", str(home / "report.json")],
        env={**kept, **(settings or {}), "STOPLOSS_HOME": str(home), "COLUMNS": "80"},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-3_000:] + done.stderr[-3_000:]
    return Shown(json.loads((home / "report.json").read_text()), done.stdout, home / "demo")


ELSEWHERE = {
    "STOPLOSS_KAFKA": "127.0.0.1:1",
    "STOPLOSS_CLICKHOUSE_URL": "http://127.0.0.1:1",
    "STOPLOSS_ALERTMANAGER_URL": "http://127.0.0.1:1",
    "STOPLOSS_FLAGD_FILE": "the-users-flags.json",
    "STOPLOSS_LEDGER_PARTITIONS": "16",
}
"""Of an installation that the demo has nothing to do with."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    home = tmp_path_factory.mktemp("small") / "home"
    return performed(home, "--traces", "4000", "--seconds", "15", settings=ELSEWHERE)


def require_all_was_judged(shown: Shown, sent: int) -> None:
    """Nothing lost, nothing invented, and a replay that agrees to the byte."""
    report = shown.report
    assert report["traces_sent"] == report["traces_stored"] == sent
    assert report["traces_dropped"] == 0
    assert report["dead_lettered"] == report["malformed_sent"] == 3
    assert report["replay_identical"] is True
    assert all(story["replay_identical"] for story in report["experiments"])
    assert report["journal_entries"] == sum(story["journal_entries"] for story in report["experiments"]) > 0


def require_harm_alone_was_stopped(shown: Shown) -> None:
    """The harmed ones have a command that a flag obeyed; the A/A is still in traffic."""
    for name, story in shown.experiments.items():
        if name in HARMED:
            assert story["action"] in ("pause", "rollback"), story
            assert story["lifecycle"] not in LIVE
            assert story["seconds_harm_to_command"] > 0
            assert story["seconds_command_to_flag"] is not None
        else:
            assert story["action"] is None, story
            assert story["lifecycle"] in LIVE


# ---- the small one ---------------------------------------------------------------------------------


def test_the_report_has_every_key(small: Shown) -> None:
    assert small.report.keys() >= KEYS


def test_every_trace_is_stored_and_only_what_nobody_can_read_is_a_dead_letter(small: Shown) -> None:
    require_all_was_judged(small, 4_000)


def test_harm_is_stopped_and_what_is_alike_runs_on(small: Shown) -> None:
    require_harm_alone_was_stopped(small)
    assert small.experiments["answer-style-aa"]["lifecycle"] == "running"


def test_the_headlines_numbers_are_those_of_the_gate(small: Shown) -> None:
    story = small.experiments[HEADLINE.experiment.name]
    for name in KEYS & story.keys() - {"journal_entries", "replay_identical"}:
        assert small.report[name] == story[name] is not None, name
    assert story["action"] == "rollback"
    assert story["reason"].startswith("gate pii_exposed was tripped by variant 'v8'")
    # Who asked for the flag before it turned was served; a stop that nobody obeys would count all of the traffic.
    seconds_until_all_have_read_it = story["seconds_command_to_flag"] + 1
    assert story["exposures_after_stop"] <= small.report["traces_per_second"] * seconds_until_all_have_read_it


def test_the_commands_are_the_starts_and_one_stop_for_each_harm(small: Shown) -> None:
    """Each was verified with the public key before it was counted: the demo ends where one is not."""
    started = [command["experiment"] for command in small.report["commands"] if command["action"] == "set_exposure"]
    stopped = [command["experiment"] for command in small.report["commands"] if command["action"] != "set_exposure"]
    assert sorted(started) == sorted(part.experiment.name for part in CAST)
    assert sorted(stopped) == sorted(HARMED)


def test_on_call_is_told_of_each_stop(small: Shown) -> None:
    assert {alert.split()[1] for alert in small.report["alerts"]} >= HARMED


def test_the_story_is_told_in_its_order(small: Shown) -> None:
    headline = HEADLINE.experiment.name
    order = [
        "Everything starts on this machine",
        "Three experiments begin",
        f"flag         {headline}: 50 % of the users get 'v8'",
        "Services send 4,000 traces within 15 s",
        f"harm begins  {headline}:",
        f"rollback     {headline}: gate pii_exposed",
        f"flag         {headline}: everybody gets 'v7'",
        "What happened",
        "What was counted",
        "Look further",
        f"export STOPLOSS_HOME={small.home}",
        f"logs: {small.home / 'logs'}",
    ]
    places = [small.screen.find(sentence) for sentence in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_without_a_terminal_there_are_no_control_codes(small: Shown) -> None:
    assert "\x1b" not in small.screen
    assert "\r" not in small.screen


def test_the_versions_name_every_part(small: Shown) -> None:
    versions = small.report["versions"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", versions["kafka"])
    assert versions.keys() >= {"stoploss", "python", "clickhouse", "faust-streaming", "river"}


def test_what_the_user_has_elsewhere_is_left_alone(small: Shown) -> None:
    assert not list(small.home.parent.rglob("the-users-flags.json"))
    assert (small.home / "flags.json").is_file()


def test_the_roles_had_nothing_to_complain_of(small: Shown) -> None:
    logged = "\n".join(log.read_text() for log in sorted((small.home / "logs").iterdir()))
    assert not re.search(r"Traceback|level='(error|critical)'|\[ERROR\]|\[CRITICAL\]", logged), logged[-3_000:]


# ---- what it leaves behind, in Grafana -------------------------------------------------------------


@pytest.fixture(scope="module")
def left_behind(small: Shown) -> Iterator[Client]:
    with EmbeddedClickHouse(small.home / "clickhouse") as engine:
        client = connect(engine.url)
        yield client
        client.close()


def rows_of(client: Client, shown: Shown, sql: str, experiment: str) -> list[tuple[Any, ...]]:
    """What Grafana would get for a page that shows the demo's quarter of an hour."""
    harm_at = datetime.fromisoformat(shown.report["first_harm_at"])
    quarter = (harm_at - timedelta(minutes=10), harm_at + timedelta(minutes=5))
    sent = expand_macros(
        sql, start=quarter[0], end=quarter[1], interval_s=5, variables={**PAGE, "experiment": experiment}
    )
    return [tuple(row) for row in client.query(sent).result_rows]


@pytest.mark.parametrize("found", PANELS, ids=lambda found: f"{found[0]}: {found[1].title}")
def test_no_panel_is_empty_on_the_demos_data(small: Shown, left_behind: Client, found: tuple[str, Panel]) -> None:
    """On the page of the experiment with a budget; when harm began is known of gates alone.

    A sum over nothing is a row too, so each column must hold a number, and one of them another than 0.
    """
    _, panel = found
    page = HEADLINE.experiment.name if panel.title == "Harm to command" else "checkout-agent-model"
    rows = rows_of(left_behind, small, panel.sql, page)
    assert rows
    numbers = {
        name: {row[place] for row in rows} - {None}
        for place, (name, sort) in enumerate(panel.columns.items())
        if sort == "number"
    }
    assert {name for name, values in numbers.items() if not values} == set()
    values = {value for of_column in numbers.values() for value in of_column}
    if panel.title in NOTHING_IS_WRONG:
        assert values == {0}
    elif numbers and panel.title not in MAY_BE_NOTHING:
        assert values != {0}


def test_the_panels_that_may_show_nothing_are_panels() -> None:
    assert NOTHING_IS_WRONG | MAY_BE_NOTHING.keys() <= {panel.title for _, panel in PANELS}


def offered(client: Client, shown: Shown, page: str, name: str, experiment: str = "checkout-agent-model") -> list[Any]:
    (variables,) = [one.variables for one in PAGES if one.name == page]
    return [row[0] for row in rows_of(client, shown, variables[name].sql, experiment)]


@pytest.mark.parametrize(("page", "name"), VARIABLES)
def test_every_variable_offers_something(small: Shown, left_behind: Client, page: str, name: str) -> None:
    found = offered(left_behind, small, page, name)
    chosen = PAGE | {"experiment": "checkout-agent-model", "value": "acme"}
    assert ("error_rate" if (page, name) == ("programme", "metric") else chosen[name]) in found


@pytest.mark.parametrize("part", CAST, ids=lambda part: part.experiment.name)
def test_the_programme_opens_with_two_metrics_one_of_which_is_what_the_experiment_is_for(
    small: Shown, left_behind: Client, part: Part
) -> None:
    experiment = part.experiment
    behaviour, business = (
        offered(left_behind, small, "programme", name, experiment.name)[0] for name in ("metric", "business")
    )
    assert business == experiment.spec.success.metric != behaviour


def test_the_stops_are_annotations(small: Shown, left_behind: Client) -> None:
    (sql,) = [page.annotations["Commands"] for page in PAGES if page.annotations]
    for name in HARMED:
        assert {row[1] for row in rows_of(left_behind, small, sql, name)} & {"pause", "rollback"}


# ---- on real requests ------------------------------------------------------------------------------


@pytest.mark.skipif(not LOG.is_file(), reason="no request log: name a CSV of one in STOPLOSS_REQUEST_LOG")
def test_all_of_a_real_request_log_is_judged_and_the_harm_in_it_stopped(tmp_path: Path) -> None:
    """The acceptance: real arrival times and token counts, seeded assignment and harm, and the label says which."""
    shown = performed(tmp_path / "home", "--arrivals", str(LOG), "--seconds", "40")
    require_all_was_judged(shown, LOG_REQUESTS)
    require_harm_alone_was_stopped(shown)
    assert shown.report["traffic"].startswith(
        f"19,366 requests of {LOG.name}: arrival times and token counts are real, time compressed "
    )
    assert shown.report["traffic"].endswith("assignment and harm are drawn from the seed")

"""What the pages show of a running installation, and what they say where a part of it is away."""

from __future__ import annotations

import json
import re

import pytest
from starlette.testclient import TestClient

from tests.console.conftest import console_with, signed_in, words_of
from tests.console.world import CARD, LEAKED, PAST, RUNNING, TWIN, WAITING, World
from tests.installation import letters_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

NOWHERE = "127.0.0.1:1"
LOOK = "a new look at 'price of tokens' is overdue since 2026-02-09"


def read(client: TestClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return words_of(answer.text)


# ---- what is there -------------------------------------------------------------------------------


def test_the_list_has_each_experiment_with_state_exposure_and_health(ada: TestClient) -> None:
    """The states that no other test changes; what runs is under way, whatever its share."""
    shown = read(ada, "/")
    under_way, _, others = shown.partition("Not under way")
    assert f"{RUNNING} Nothing changes, since nothing was changed. · platform-team running" in under_way
    assert re.search(rf"{LEAKED} .* rolled back 0 % \d+ in flight at the stop, \d+ begun after it", others)
    assert re.search(rf"{WAITING} .* registered 0 % not started", others)
    assert "2 experiments wait for a person" in shown


def test_a_story_goes_from_evidence_to_the_last_exposure(ada: TestClient) -> None:
    shown = read(ada, f"/experiments/{LEAKED}")
    chain = shown[shown.index("Why it was rolled back") : shown.index("Gates")]
    links = ["Evidence first harmful trace", "Verdict breach: pii_exposed", "Command rollback to 0 %",
             "Ack applied by flagd", "Last exposure"]  # fmt: skip
    places = [chain.index(link) for link in links]
    assert places == sorted(places)
    assert "gate pii_exposed was tripped by variant 'v8'" in chain
    story = shown[shown.rindex("Story") :]
    told = ["ack flagd: applied after", "command Command: rollback to 0 %", "verdict breach: pii_exposed",
            "evidence The evidence that tipped it", "asked for start: accepted"]  # fmt: skip
    assert [story.index(line) for line in told] == sorted(story.index(line) for line in told)
    assert "trace leak: " in story


def test_a_stop_by_a_guardrail_is_told_with_its_pictures_segments_and_numbers(ada: TestClient) -> None:
    shown = read(ada, f"/experiments/{PAST}")
    assert "latency_ms is worse than allowed" in shown
    assert (
        "latency_ms (geometric mean): effect of the treatment breach: worse than the margin allows. Effect +" in shown
    )
    (segments,) = re.findall(r"Segments Stopped ones first.*?Story", shown)
    assert "tenant=acme" in segments
    assert re.search(r"tenant=tiny undecided hidden", segments)
    assert not re.search(r"tenant=tiny [^a-z]*\d", segments)


def test_pictures_are_data_with_limits_margin_and_the_moment_of_the_command(ada: TestClient) -> None:
    drawn = {picture["key"]: picture for picture in ada.get(f"/experiments/{PAST}/pictures").json()}
    effect = drawn["effect-0"]
    line, margin = effect["lines"]
    assert len(line["at"]) == len(line["values"]) == len(line["lower"]) == len(line["upper"]) == len(margin["values"])
    assert set(margin["values"]) == {0.15}
    assert line["lower"][-1] > 0.15
    assert [mark["text"] for mark in effect["marks"]] == ["epoch 1, 50 %", "rollback"]
    assert {line["role"] for line in drawn["arms-latency_ms"]["lines"]} == {"control", "treatment"}


def test_a_budget_is_shown_before_anything_is_spent(ada: TestClient) -> None:
    shown = read(ada, f"/experiments/{WAITING}")
    assert re.search(r"500 \S+ of cost_usd in 1 day, 0:00:00 throttle to 1 % at 6 times as fast as planned", shown)
    assert "not judged yet" in shown


def test_the_review_is_the_document_that_the_command_writes(ada: TestClient) -> None:
    shown = read(ada, f"/experiments/{PAST}/review")
    written = ada.get(f"/experiments/{PAST}/review.md")
    assert written.headers["content-disposition"] == 'attachment; filename="review.md"'
    assert "# Experiment review: checkout" in written.text
    for line in ("Hypothesis: The smaller model is as good.", "Decision: rollback", "Guardrails", "Segments"):
        assert line in shown
    decision = re.findall(r"\*\*Why:\*\* (.+)", written.text)[0]
    assert decision.replace("\\", "") in shown


def test_the_inbox_names_what_waits_and_what_can_be_done(ada: TestClient) -> None:
    shown = ada.get("/waiting").text
    assert f"/experiments/{WAITING}/ask/start" in shown
    assert "Waits for approval: product has not approved; privacy has not approved" in words_of(shown)
    assert RUNNING not in shown


def test_what_people_owe_and_is_overdue_stands_on_the_list_in_the_inbox_and_on_its_page(ada: TestClient) -> None:
    """X5, G7"""
    for page in ("/", "/waiting", f"/experiments/{TWIN}"):
        assert LOOK in words_of(ada.get(page).text), page
    assert "What people owe is overdue. Since 2026-02-09" in words_of(ada.get("/waiting").text)


@pytest.mark.parametrize(
    ("words", "hit"),
    [("PAYMENT cases", None), ("repeat the question", LEAKED), ("pii_exposed", LEAKED), ("slow", None)],
)
def test_search_finds_specs_and_findings_whatever_their_case(ada: TestClient, words: str, hit: str | None) -> None:
    shown = read(ada, f"/search?q={words.upper()}")
    assert (f"{hit} " in shown) if hit else "Nothing of that is recorded" in shown


def test_dead_letters_are_counted_listed_and_shown_with_their_bytes(world: World, ada: TestClient) -> None:
    listed = ada.get("/letters").text
    assert len(letters_of(world.settings)) >= 1
    letter = re.findall(r'href="/letters/(\d+-\d+)"', listed)[0]
    shown = read(ada, f"/letters/{letter}")
    assert "may hold personal data" in shown
    assert "7b 22 74 72 61 63 65 5f 69 64" in shown


def test_no_page_of_an_experiment_shows_what_a_trace_said(ada: TestClient) -> None:
    for path in ("", "/review", "/pictures"):
        assert CARD not in ada.get(f"/experiments/{LEAKED}{path}").text


# ---- what is not there ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/experiments/none", "/experiments/none/review", "/letters/9-9", "/letters/x", "/none"]
)
def test_what_is_not_there_says_so_in_a_sentence(ada: TestClient, path: str) -> None:
    answer = ada.get(path)
    assert answer.status_code == 404
    assert "This did not work" in answer.text


def test_without_kafka_the_story_is_shown_and_no_button(world: World) -> None:
    client = signed_in(console_with(world, kafka=NOWHERE))
    listed, shown = read(client, "/"), client.get(f"/experiments/{RUNNING}").text
    assert "no Kafka broker answers" in listed
    assert RUNNING in listed
    assert "no Kafka broker answers" in shown
    assert "/ask/stop" not in shown
    assert "From here on the variants are compared anew." in shown
    assert "stoploss break-glass" in client.get(f"/experiments/{RUNNING}/ask/stop").text


def test_without_clickhouse_experiments_are_listed_and_can_be_stopped(world: World) -> None:
    client = signed_in(console_with(world, clickhouse_url=f"http://{NOWHERE}"))
    assert "unknown while ClickHouse is away" in read(client, "/")
    shown = client.get(f"/experiments/{RUNNING}").text
    assert "ClickHouse at http://127.0.0.1:1 cannot be used" in shown
    assert f"/experiments/{RUNNING}/ask/stop" in shown
    for path in ("/letters", "/search?q=x", f"/experiments/{RUNNING}/review"):
        assert "start it, or set STOPLOSS_CLICKHOUSE_URL" in client.get(path).text


def test_without_either_a_page_says_what_to_do(world: World) -> None:
    client = signed_in(console_with(world, kafka=NOWHERE, clickhouse_url=f"http://{NOWHERE}"))
    answer = client.get("/")
    assert answer.status_code == 503
    assert "start it, or correct STOPLOSS_KAFKA" in answer.text
    assert "start it, or set STOPLOSS_CLICKHOUSE_URL" in answer.text


def test_an_empty_installation_says_how_to_begin(world: World) -> None:
    empty = {"topic_prefix": f"{world.settings.topic_prefix}empty.", "clickhouse_database": "empty"}
    client = signed_in(console_with(world, **empty))
    assert "create it: stoploss topics" in words_of(client.get("/").text)
    assert "nothing is recorded in ClickHouse" in words_of(client.get("/letters").text)


# ---- live ----------------------------------------------------------------------------------------


def test_a_stamp_changes_with_what_the_page_shows(world: World, ada: TestClient) -> None:
    stamps = world.console.stamps
    past, waiting = stamps.now(PAST), stamps.now(WAITING)
    assert (stamps.now(PAST), stamps.now(WAITING)) == (past, waiting)
    assert past != waiting != stamps.now("")
    (given,) = re.findall(r'data-stamp="(\w+)"', ada.get(f"/experiments/{PAST}").text)
    assert given == past


def test_who_comes_with_an_old_stamp_is_told_at_once(world: World, ada: TestClient) -> None:
    world.console.listeners.closing.clear()
    told = []
    with ada.stream("GET", f"/events?experiment={PAST}&seen=old") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            told.append(line)
            if line.startswith("data: "):
                world.console.listeners.closing.set()
    world.console.listeners.closing.clear()
    assert told[:4] == ["retry: 3000", "", "event: change", f"data: {world.console.stamps.now(PAST)}"]


def test_a_page_says_what_its_pictures_are_without_a_script(ada: TestClient) -> None:
    text = ada.get(f"/experiments/{PAST}").text
    labels = re.findall(r'role="img" aria-label="([^"]+)"', text)
    assert labels
    assert all(label.count(". ") >= 1 for label in labels)
    assert json.dumps(labels).count("geometric mean") >= 1

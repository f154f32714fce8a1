"""X3, R5: the whole line in the console: who stops it and who lifts the stop, what every page says, and the budgets."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from stoploss.console.asking import Asked, Desk
from stoploss.console.kept import Kept
from stoploss.console.line import line_consequences
from stoploss.console.rendering import ENVIRONMENT, STATES
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.errors import ConfigurationError, RequestRefused
from stoploss.lifecycle import FREEZE, POLICY, UNFREEZE
from stoploss.review.beside import InteractionLine
from stoploss.rules.verdict import Outcome
from stoploss.settings import Settings
from streams.registrar import partition_for
from tests.console.browsing import PATIENCE_MS, SIZES, browser, violations, visit
from tests.console.conftest import OURS, fields_of, signed_in, words_of
from tests.console.house import House, housed
from tests.governance.institution import LENIENT
from tests.installation import append_facts, registry_of
from tests.timelines import SPEC, Timeline, traces

__all__ = ["browser"]

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

ONE, TWO = "checkout", "basket"
BUDGETED = (
    f"{LENIENT}  budgets: {{programme: {{limit: 100, period: 720h}}, perExperiment: {{limit: 5, period: 720h}}}}\n"
)


@pytest.fixture(scope="module")
def house(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """olga operates, carol is a steward."""
    with housed(kafka, tmp_path_factory.mktemp("line"), ("olga",), "author: [olga], operator: [olga]") as found:
        yield found


@pytest.fixture(scope="module")
def running(house: House) -> House:
    house.ask("carol", POLICY, "", spec=BUDGETED)
    for name in (ONE, TWO):
        spec = SPEC.replace("name: checkout", f"name: {name}").replace("flag: checkout", f"flag: {name}")
        house.ask("olga", "register", name, spec=spec)
        house.ask("olga", "start", name)
    return house


# ---- the line ------------------------------------------------------------------------------------


def test_a_stop_by_keyboard_reaches_every_page_and_only_a_steward_lifts_it(browser: Browser, running: House) -> None:
    """X3: on 400 pixels; who looks on is told without asking."""
    with visit(browser, running, person="carol") as onlooker, visit(browser, running, "narrow", "dark", "olga") as page:
        onlooker.goto(f"/experiments/{ONE}")
        page.get_by_role("link", name="Stop the line…").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("2 experiments are paused: basket, checkout.")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["narrow"][0]
        page.get_by_label("Why").focus()
        page.keyboard.type("the provider is down")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("done=freeze"))
        banner = "by olga: the provider is down"
        expect(page.locator("#line")).to_contain_text(banner)
        expect(onlooker.locator("#line")).to_contain_text(banner, timeout=PATIENCE_MS)
        for path in ("/waiting", "/search", "/budgets", "/none", f"/experiments/{TWO}/ask/resume"):
            page.goto(path)
            expect(page.locator("#line")).to_contain_text("Nothing may run: the line is stopped since")
        page.goto("/budgets")
        expect(page.locator("tbody tr")).to_have_count(3)
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["narrow"][0]
        assert {running.lifecycle(name) for name in (ONE, TWO)} == {"paused"}
        page.get_by_role("link", name="Lift the stop…").click()
        page.get_by_label("Why").fill("it is back")
        page.get_by_role("button", name="Lift the stop of the line").click()
        expect(page.get_by_role("alert")).to_contain_text("olga is no steward")
        onlooker.get_by_role("link", name="Lift the stop…").click()
        expect(onlooker.get_by_text("each waits for its own resume: basket, checkout.")).to_be_visible()
        onlooker.get_by_label("Why").fill("it is back")
        onlooker.get_by_role("button", name="Lift the stop of the line").click()
        onlooker.wait_for_url(re.compile("done=unfreeze"))
        expect(onlooker.locator("#line")).to_be_empty()
    assert {running.lifecycle(name) for name in (ONE, TWO)} == {"paused"}


def test_a_stop_needs_a_reason_and_a_second_one_is_not_offered(running: House) -> None:
    """X3"""
    olga, path = signed_in(running.console, "olga"), "/line/ask/freeze"
    refused = olga.post(path, data={**fields_of(olga.get(path).text), "reason": " "}, headers=OURS)
    assert refused.status_code == 409
    assert "freeze needs a reason" in words_of(refused.text)
    assert "The line is not stopped." in words_of(olga.get("/line/ask/unfreeze").text)
    assert olga.get("/line/ask/start").status_code == 404
    assert olga.post("/line/ask/start", data=fields_of(olga.get(path).text), headers=OURS).status_code == 404


def test_a_lift_holds_for_the_stop_that_the_page_showed_and_a_form_that_is_sent_twice_asks_once(running: House) -> None:
    """X3"""
    olga, carol = signed_in(running.console, "olga"), signed_in(running.console, "carol")
    form = {**fields_of(olga.get("/line/ask/freeze").text), "reason": "twice"}
    for _ in range(2):
        answer = olga.post("/line/ask/freeze", data=form, headers=OURS)
        assert "The line is stopped: nothing is started" in words_of(answer.text)
    assert "The line is stopped already." in words_of(olga.get("/line/ask/freeze").text)
    lift = {**fields_of(carol.get("/line/ask/unfreeze").text), "reason": "it is back"}
    stale = carol.post("/line/ask/unfreeze", data={**lift, "seen": "the line is stopped since long"}, headers=OURS)
    assert stale.status_code == 409
    assert "look again" in stale.text
    assert carol.post("/line/ask/unfreeze", data=lift, headers=OURS).status_code == 200
    assert "Nothing may run" not in carol.get("/").text


def test_a_stop_goes_out_where_nobody_can_say_whether_the_line_is_stopped() -> None:
    """What keeps a stop back is Kafka alone; a lift wants to know what it lifts."""
    asked = Asked("0" * 8, "because", None, "the line is stopped since 2026")
    with pytest.raises(RequestRefused, match="now it is not; look again"):
        Desk(Settings()).ask_of_line("carol", UNFREEZE, asked, None)
    with pytest.raises(ConfigurationError, match="STOPLOSS_KAFKA"):
        Desk(Settings()).ask_of_line("carol", FREEZE, asked, None)


def test_where_nothing_runs_a_stop_says_so() -> None:
    assert line_consequences(FREEZE, ())[0] == "Nothing runs now, so nothing is paused."
    assert line_consequences(UNFREEZE, ())[-1] == "Nothing runs by itself."


# ---- budgets -------------------------------------------------------------------------------------


def test_budgets_are_shown_with_what_is_spent_and_who_waits_for_the_next_period(running: House) -> None:
    """R5"""
    some = traces(7, seed=1)
    some.variant[:] = 1
    some.metrics["cost_usd"][:] = 1_000_000_000
    spec = (registry_of(running.settings, TWO) or pytest.fail(TWO)).spec
    append_facts(running.settings, partition_for(TWO, 2), Timeline(spec).blocks(some))
    olga = signed_in(running.console, "olga")

    def shown() -> str:
        return words_of(olga.get("/budgets").text)

    running.installation.wait(lambda: "experiment basket 7 of 5 USD spent (140 %) spent" in shown())
    assert "it is gone: what draws on it is paused" in shown()
    assert "the programme 7 of 100 USD spent (7 %) 20" in shown()
    assert "too little was spent lately for a forecast" in shown()
    assert "experiment checkout 0 of 5 USD spent (0 %)" in shown()


# ---- parts ---------------------------------------------------------------------------------------


def test_what_is_kept_is_read_once_and_anew_after_it_was_forgotten() -> None:
    reads = iter(["one", "two"])
    kept = Kept(lambda: next(reads), 3_600)
    assert [kept.now(), kept.now()] == ["one", "one"]
    kept.forget()
    assert kept.now() == "two"


def test_who_is_away_is_not_asked_again_at_once() -> None:
    asked = []

    def away() -> str:
        asked.append(1)
        raise ConfigurationError("no broker answers")

    kept = Kept(away, 3_600)
    for _ in range(3):
        with pytest.raises(ConfigurationError, match="no broker answers"):
            kept.now()
    assert len(asked) == 1


def test_a_difference_beside_another_experiment_is_a_warning_with_its_numbers() -> None:
    """X3"""
    line = InteractionLine(
        "ranking", "v2", "v1", "latency_ms", "log", "ms", True, "differs", -0.38, -0.46, -0.28, "", (900, 880)
    )
    shown = str(ENVIRONMENT.get_template("parts.html").make_module().beside([line]))  # type: ignore[attr-defined]
    assert '<span class="state warning">differs</span>' in shown
    assert "v2 of ranking less v1 -38 %, between -46 % and -28 %" in words_of(shown)


def test_every_verdict_has_a_colour() -> None:
    assert {outcome.value for outcome in Outcome} <= STATES.keys()

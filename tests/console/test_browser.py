"""The console in a real Chromium: a stop is followed by clicks, a person stops another, and everybody can read it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.browsing import PATIENCE_MS, SIZES, browser, violations, visit
from tests.console.conftest import console_with
from tests.console.world import LEAKED, PAST, PERSON, TWIN, WAITING, World, served
from tests.installation import journal_of

__all__ = ["browser"]

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


# ---- the story, by clicks ------------------------------------------------------------------------


def test_a_person_follows_a_stop_by_clicks(browser: Browser, world: World) -> None:
    with visit(browser, world) as page:
        page.get_by_role("link", name=LEAKED, exact=True).click()
        expect(page.get_by_role("heading", name="Why it was rolled back")).to_be_visible()
        links = page.locator(".chain li")
        assert [name.inner_text() for name in links.locator("b").all()] == [
            "Evidence", "Verdict", "Command", "Ack", "Last exposure"]  # fmt: skip
        page.get_by_role("link", name="Review document").click()
        expect(page.get_by_role("heading", name=f"Experiment review: {LEAKED}")).to_be_visible()
        page.get_by_role("link", name="Dead letters").click()
        page.locator("a[href^='/letters/']").first.click()
        page.get_by_text("Show the bytes").click()
        expect(page.locator("pre")).to_contain_text("7b 22 74 72 61 63 65")
        page.get_by_role("link", name="Search", exact=True).click()
        page.get_by_label("Words to find").fill("PII_EXPOSED")
        page.keyboard.press("Enter")
        page.locator("main .card").get_by_role("link", name=LEAKED).first.click()
        expect(page.locator("h1")).to_contain_text("rolled back")


def test_a_person_stops_an_experiment_by_keyboard_and_another_page_is_told(browser: Browser, world: World) -> None:
    with visit(browser, world) as onlooker, visit(browser, world, "narrow", "dark") as page:
        onlooker.goto(f"/experiments/{TWIN}")
        expect(onlooker.locator("h1")).to_contain_text("running")
        page.goto(f"/experiments/{TWIN}")
        page.get_by_role("link", name="Stop…").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nobody gets the treatment variant 'b' any more")).to_be_visible()
        page.get_by_label("Why").focus()
        page.keyboard.type("it costs too much")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("done=stop"))
        expect(page.get_by_role("status")).to_have_text("It is stopped: nobody gets the treatment variant.")
        expect(onlooker.locator("h1")).to_contain_text("stopped", timeout=PATIENCE_MS)
        expect(onlooker.get_by_text("Why it was stopped")).to_be_visible(timeout=PATIENCE_MS)
        expect(onlooker.locator(".chain")).to_contain_text(f"asked for by {PERSON}", timeout=PATIENCE_MS)
        expect(onlooker.locator(".chain")).to_contain_text("applied by flagd", timeout=PATIENCE_MS)
    asked = [entry.conclusion for entry in journal_of(world.settings, TWIN)]
    stops = [said for said in asked if type(said).__name__ == "RequestHandled" and said.action == "stop"]
    assert [(said.by, said.accepted, said.reason) for said in stops] == [(PERSON, True, "it costs too much")]


# ---- pictures, times, reading --------------------------------------------------------------------


def test_pictures_are_drawn_without_another_host_and_keep_to_the_policy(browser: Browser, world: World) -> None:
    with visit(browser, world) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"/experiments/{PAST}")
        plot = page.locator("#plot-effect-0 .main-svg").first
        expect(plot).to_be_visible(timeout=PATIENCE_MS)
        assert page.locator("#plot-effect-0 .scatterlayer .trace").count() == 4
        expect(page.locator("#plot-effect-0")).to_contain_text("rollback")
        page.get_by_text("latency_ms: mean of each variant").click()
        expect(page.locator("#plot-arms-latency_ms .main-svg").first).to_be_visible(timeout=PATIENCE_MS)
        assert {url.startswith(world.address) for url in asked} == {True}


def test_times_are_in_the_viewers_zone_and_utc_is_a_glance_away(browser: Browser, world: World) -> None:
    with visit(browser, world) as page:
        page.goto(f"/experiments/{PAST}")
        time = page.locator(".facts time").first
        assert re.fullmatch(r"1 Jan 2100, 13:\d\d:\d\d", time.inner_text())
        assert re.fullmatch(r"2100-01-01 12:\d\d:\d\d\.\d{3} UTC", time.get_attribute("title") or "")
        expect(page.locator("#zone")).to_contain_text("Europe/Berlin")


PATHS = {
    "no such page": "/none",
    "no such experiment": "/experiments/none",
    "approval": f"/experiments/{WAITING}/ask/approve",
    "story": f"/experiments/{PAST}",
    "confirmation": f"/experiments/{WAITING}/ask/start",
    "inbox": "/waiting",
    "budgets": "/budgets",
    "stop of the line": "/line/ask/freeze",
    "list": "/",
    "letters": "/letters",
    "search": "/search?q=model",
    "review": f"/experiments/{PAST}/review",
}


AWAY = {
    "kafka": ("Not all can be shown", ("/", f"/experiments/{PAST}", f"/experiments/{PAST}/ask/start", "/waiting")),
    "clickhouse_url": ("ClickHouse", (f"/experiments/{WAITING}", "/letters", f"/experiments/{WAITING}/review")),
}
"""Pages that want what is away, and what each of them says then."""


def keeps_nobody_out(page: Page, path: str) -> None:
    page.goto(path)
    for size, colours in (("wide", "light"), ("narrow", "dark")):
        page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
        page.emulate_media(color_scheme=colours)
        assert violations(page) == [], (path, size, colours)
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], (path, size)


def test_no_page_keeps_anybody_from_using_it_light_or_dark_wide_or_narrow(browser: Browser, world: World) -> None:
    with visit(browser, world) as page:
        for path in PATHS.values():
            keeps_nobody_out(page, path)
        page.goto("/letters")
        letter = page.locator("a[href^='/letters/']").first.get_attribute("href")
        keeps_nobody_out(page, letter or pytest.fail("no letter"))
        page.goto(letter or "")
        expect(page.get_by_text("Show the bytes")).to_be_visible()


@pytest.mark.parametrize("away", AWAY)
def test_nor_does_a_page_that_says_what_is_away(browser: Browser, world: World, away: str) -> None:
    said, paths = AWAY[away]
    console = console_with(world, **{away: "127.0.0.1:1" if away == "kafka" else "http://127.0.0.1:1"})
    with served(console) as address, visit(browser, replace(world, console=console, address=address)) as page:
        for path in paths:
            keeps_nobody_out(page, path)
            expect(page.locator("main")).to_contain_text(said)


def test_a_stranger_is_led_to_the_form_and_from_there_to_the_page(browser: Browser, world: World) -> None:
    page = browser.new_context(base_url=world.address).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto("/waiting")
    page.wait_for_url(re.compile("/signin"))
    assert violations(page) == []
    page.get_by_label("Name").fill(PERSON)
    page.get_by_label("Token").fill(world.console.sessions.token(PERSON))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{world.address}/waiting")
    page.context.close()


def test_the_first_tab_leads_past_the_navigation(browser: Browser, world: World) -> None:
    with visit(browser, world) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")

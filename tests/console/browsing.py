"""A real Chromium, and pages of it that a person has signed in to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.console.world import PERSON

PATIENCE_MS = 60_000
SIZES = {"wide": (1280, 900), "narrow": (400, 800)}
SERIOUS = {"serious", "critical"}
# The style of maps, which plotly writes into each page: the policy refuses it, and no map is drawn. And a page that
# says no, or what is away, which is what it is there for.
NO_FAULTS = (
    "Applying inline style violates",
    "the server responded with a status of 4",
    "the server responded with a status of 503",
)


class Served(Protocol):
    """A console that answers at an address."""

    @property
    def address(self) -> str: ...

    def link(self, person: str) -> str: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """$CHROMIUM, the system's, or the one that `playwright install chromium` has fetched."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])


@contextmanager
def visit(
    browser: Browser, served: Served, size: str = "wide", colours: str = "light", person: str = PERSON
) -> Iterator[Page]:
    """A page of a person who lives in Berlin and has followed the link; fails where a script of the page does."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=colours,
        timezone_id="Europe/Berlin",
        locale="en-GB",
        base_url=served.address,
    )
    context.set_default_timeout(PATIENCE_MS)
    faults: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.extend(fault_in(message)))
    page.goto(served.link(person))
    page.wait_for_url(f"{served.address}/")
    yield page
    assert faults == []
    context.close()


def fault_in(message: ConsoleMessage) -> list[str]:
    return [message.text] if message.type == "error" and not any(said in message.text for said in NO_FAULTS) else []


def violations(page: Page) -> list[str]:
    """What axe finds that keeps somebody from using the page."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in SERIOUS]

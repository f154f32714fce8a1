"""Approving and rejecting in the console: to whom it is offered, what it asks for, and the judge's last word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, expect

from stoploss.console.asking import DECISIONS
from stoploss.console.deciding import NOT_MISSING, Viewer, choice, decisions, outcome_of_decision
from stoploss.console.reads import Standing, spec_of
from stoploss.console.waiting import waiting
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.governance.record import Approval
from stoploss.lifecycle import POLICY
from stoploss.policy.file import parse_policy
from stoploss.registry import RegistryEntry
from tests.console.browsing import SIZES, browser, violations, visit
from tests.console.conftest import OURS, csrf_of, fields_of, signed_in, words_of
from tests.console.house import House, housed
from tests.console.test_health import NOW, RUNNING
from tests.governance.institution import LENIENT
from tests.governance.people import identity
from tests.installation import journal_of, registry_of
from tests.timelines import SPEC

__all__ = ["browser"]

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

STRICT = LENIENT.replace("low: {}", "low: {approvals: {product: 1, privacy: 1}}")
CAREFUL = Viewer("pia", identity(), parse_policy(STRICT))
WAITS = Standing(replace(RUNNING, lifecycle="registered"), spec_of(SPEC), authors=("ada",))


# ---- to whom it is offered -----------------------------------------------------------------------


def given(domain: str, by: str, *, granted: bool = True) -> Approval:
    return Approval(domain, by, granted, "because", 0, "", None, None, None, (), ())


def test_what_the_policy_asks_for_is_waited_for_and_offered_to_its_approvers() -> None:
    (item,) = waiting([WAITS], NOW, CAREFUL)
    assert item.why == "Waits for approval: product has not approved; privacy has not approved."
    assert [offer.action for offer in item.offers] == ["approve", "reject", "start"]
    assert choice("approve", WAITS, CAREFUL, NOW).domains == ("product", "privacy")
    assert choice("approve", WAITS, replace(CAREFUL, roles=None), NOW).domains[:2] == ("product", "privacy")


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ("ada", "ada is an author of the spec, and nobody approves or rejects their own; ask somebody else"),
        ("olga", "olga may not approve here: that takes the role approver in team 'search-team', which ada, pia has"),
    ],
)
def test_who_may_not_approve_is_told_why(person: str, why: str) -> None:
    (item,) = waiting([WAITS], NOW, replace(CAREFUL, person=person))
    assert [offer.action for offer in item.offers] == ["start"]
    assert item.why_not == why


def test_what_somebody_has_said_is_not_asked_again_and_can_be_taken_back() -> None:
    once = replace(WAITS, approvals=(given("product", "pia"),))
    assert choice("approve", once, CAREFUL, NOW).domains == ("privacy",)
    assert choice("reject", once, CAREFUL, NOW).domains == ("product", "privacy")
    refused = replace(WAITS, approvals=(given("product", "pia", granted=False), given("privacy", "pia", granted=False)))
    assert choice("approve", refused, CAREFUL, NOW).domains == ("product", "privacy")
    assert choice("reject", refused, CAREFUL, NOW).why_not == "pia has said so already."


def test_where_nothing_is_missing_or_all_is_decided_nothing_is_offered() -> None:
    both = replace(WAITS, approvals=(given("product", "pia"), given("privacy", "pia")))
    assert choice("approve", both, CAREFUL, NOW).why_not == NOT_MISSING
    ended = replace(WAITS, status=replace(RUNNING, lifecycle="completed"))
    assert choice("approve", ended, CAREFUL, NOW).why_not == "This is not allowed while it is completed."
    assert decisions(replace(WAITS, spec=None), CAREFUL, NOW) == ()


def test_a_rejection_of_what_runs_says_that_it_may_be_paused() -> None:
    assert "it is paused" in outcome_of_decision("reject", replace(WAITS, status=RUNNING), CAREFUL, NOW)[-1]
    material = spec_of(SPEC.replace("spec:\n", "spec:\n  userImpact: material\n", 1))
    assert "material impact" in outcome_of_decision("approve", replace(WAITS, spec=material), CAREFUL, NOW)[-1]


# ---- asking --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def house(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """olga writes and operates; pia may approve for two domains, ada for one and writes sometimes."""
    team = "author: [olga, ada], operator: [olga], approver: {product: [pia], privacy: [pia, ada, olga]}"
    with housed(kafka, tmp_path_factory.mktemp("deciding"), ("olga", "pia", "ada"), team) as found:
        found.ask("carol", POLICY, "", spec=STRICT)
        yield found


def registered(house: House, name: str) -> str:
    house.ask("olga", "register", name, spec=named(name))
    house.installation.wait(lambda: house.lifecycle(name) == "registered")
    return f"/experiments/{name}/ask"


def named(name: str) -> str:
    return SPEC.replace("name: checkout", f"name: {name}").replace("flag: checkout", f"flag: {name}")


def entry(house: House, name: str) -> RegistryEntry:
    return registry_of(house.settings, name) or pytest.fail(name)


def test_an_approver_answers_by_keyboard_for_each_domain_and_it_may_start(browser: Browser, house: House) -> None:
    """On 400 pixels, under conditions, signed with the approver's own key."""
    registered(house, "by-keyboard")
    with visit(browser, house, "narrow", "dark", "pia") as page:
        page.goto("/waiting")
        card = page.locator(".card", has_text="by-keyboard")
        expect(card).to_contain_text("product has not approved; privacy has not approved.")
        card.get_by_role("link", name="Approve…").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nobody gets the treatment by it")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["narrow"][0]
        page.get_by_label("You speak for").focus()
        page.keyboard.type("privacy")
        for text in ("10", "30d", "looked at the data", ""):
            page.keyboard.press("Tab")
            page.keyboard.type(text)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("done=approve"))
        expect(page.get_by_role("status")).to_have_text("Your approval is recorded.")
        house.installation.wait(lambda: len(entry(house, "by-keyboard").approvals) == 1)
        page.goto("/experiments/by-keyboard/ask/approve")
        expect(page.get_by_text("You speak for product.")).to_be_visible()
        page.get_by_label("Why").fill("worth a try")
        page.get_by_role("button", name="Approve by-keyboard").click()
        page.wait_for_url(re.compile("done=approve"))
        house.installation.wait(lambda: house.lifecycle("by-keyboard") == "approved")
    privacy, product = entry(house, "by-keyboard").approvals
    assert (privacy.domain, privacy.by, privacy.reason) == ("privacy", "pia", "looked at the data")
    assert (privacy.largest_exposure, (privacy.expires_at or 0) - privacy.at) == (0.1, 30 * 86_400_000_000)
    assert (product.domain, product.largest_exposure, product.expires_at) == ("product", None, None)


def test_a_rejection_stands_in_the_way_with_its_reason(house: House) -> None:
    path, pia = f"{registered(house, 'rejected')}/reject", signed_in(house.console, "pia")
    form = fields_of(pia.get(path).text)
    empty = pia.post(path, data={**form, "domain": "product", "reason": " "}, headers=OURS)
    assert empty.status_code == 409
    assert "reject needs a reason" in words_of(empty.text)
    again = {**fields_of(pia.get(path).text), "domain": "product", "reason": "of no use"}
    assert "Your rejection is recorded" in words_of(pia.post(path, data=again, headers=OURS).text)
    house.installation.wait(lambda: "pia has rejected it for product: of no use" in words_of(pia.get("/waiting").text))


def test_the_registrar_and_the_judge_have_the_last_word_and_it_is_shown(house: House) -> None:
    """Whoever makes a form of their own is refused by what the page would have told them."""
    path = f"{registered(house, 'refused')}/approve"
    olga, ada, pia = (signed_in(house.console, person) for person in ("olga", "ada", "pia"))
    assert "olga is an author of the spec, and nobody approves" in words_of(olga.get(path).text)
    assert "olga is an author of the spec" in words_of(olga.get("/waiting").text)
    form = {**fields_of(pia.get(path).text), "domain": "privacy", "reason": "mine"}
    own = olga.post(path, data={**form, "csrf": csrf_of(olga.get("/").text)}, headers=OURS)
    assert own.status_code == 409
    assert "approve of 'refused' is refused: olga is an author of the spec" in words_of(own.text)
    form = {**fields_of(pia.get(path).text), "domain": "product", "reason": "mine"}
    other = ada.post(path, data={**form, "csrf": csrf_of(ada.get("/").text)}, headers=OURS)
    assert other.status_code == 409
    assert "ada may not approve here: that takes the role approver for product" in words_of(other.text)
    assert {action for action in DECISIONS if f"/ask/{action}" in olga.get("/experiments/refused").text} == set()
    assert {action for action in DECISIONS if f"/ask/{action}" in pia.get("/experiments/refused").text} == {*DECISIONS}


def test_what_is_wrong_with_a_condition_is_told_before_anything_is_sent_and_what_was_written_stays(
    house: House,
) -> None:
    path, pia = f"{registered(house, 'conditions')}/approve", signed_in(house.console, "pia")
    form = {
        **fields_of(pia.get(path).text),
        "domain": "privacy",
        "largest": "20",
        "validFor": "a while",
        "reason": "so",
    }
    before = len(journal_of(house.settings, "conditions"))
    refused = pia.post(path, data=form, headers=OURS)
    assert "validFor: 'a while' is no duration" in words_of(refused.text)
    assert "<option selected>privacy</option>" in refused.text
    assert 'value="20"' in refused.text
    assert ">so</textarea>" in refused.text
    assert "is no exposure" in words_of(pia.post(path, data={**form, "largest": "200"}, headers=OURS).text)
    assert len(journal_of(house.settings, "conditions")) == before


def test_an_approval_holds_for_the_spec_that_the_page_showed(house: House) -> None:
    path, pia = f"{registered(house, 'amended')}/approve", signed_in(house.console, "pia")
    form = {**fields_of(pia.get(path).text), "domain": "product", "reason": "as I read it"}
    wider = named("amended").replace("stages: [0.5]", "stages: [0.9]")
    assert wider != named("amended")
    house.ask("olga", "amend", "amended", spec=wider)
    house.installation.wait(lambda: entry(house, "amended").amendments)
    house.installation.wait(lambda: form["seen"] not in pia.get(path).text)
    stale = pia.post(path, data=form, headers=OURS)
    assert stale.status_code == 409
    assert "look again" in stale.text
    assert entry(house, "amended").approvals == ()

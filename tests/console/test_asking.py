"""Signing in, and what a person asks for: by the same way as the command line, and by nobody else's page."""

from __future__ import annotations

import re
import uuid
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from stoploss.console.app import routes
from stoploss.console.asking import DECISIONS, OFFERS
from tests.console.conftest import HTML, OURS, csrf_of, fields_of, signed_in, stranger, words_of
from tests.console.world import LEAKED, PERSON, RUNNING, WAITING, World
from tests.installation import journal_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

CONFIRM = f"/experiments/{RUNNING}/ask/pause"
PAGES = [route.path for route in routes() if isinstance(route, Route) and "GET" in (route.methods or ())]
FORMS = [route.path for route in routes() if isinstance(route, Route) and "POST" in (route.methods or ())]
PUBLIC = {"/signin", "/healthz", "/static/plotly.min.js", "/static/drawing.js"}


def filled(path: str) -> str:
    return path.format(name=RUNNING, action="pause", id="0-0")


def handled(world: World, experiment: str) -> list[tuple[str, str, bool, str]]:
    """What the judge said of each request: action, by whom, accepted, why."""
    conclusions = [entry.conclusion for entry in journal_of(world.settings, experiment)]
    return [(c.action, c.by, c.accepted, c.reason) for c in conclusions if type(c).__name__ == "RequestHandled"]


# ---- signing in ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(set(PAGES) - PUBLIC))
def test_a_stranger_sees_no_page(world: World, path: str) -> None:
    client = stranger(world.console)
    answer = client.get(filled(path))
    assert answer.status_code == 401
    assert RUNNING not in answer.text.replace(f"/experiments/{RUNNING}", "").replace(f"experiments%2F{RUNNING}", "")
    assert client.get(filled(path), headers={"accept": "*/*"}).status_code == 401


@pytest.mark.parametrize("path", FORMS)
def test_no_form_is_taken_without_an_origin_a_session_and_its_token(world: World, path: str) -> None:
    ada, other = signed_in(world.console), signed_in(world.console)
    theirs = csrf_of(other.get("/").text)
    before = handled(world, RUNNING)
    hostile = {"origin": "http://evil.example"}
    assert ada.post(filled(path), data={"csrf": csrf_of(ada.get("/").text)}, headers=hostile).status_code == 403
    assert ada.post(filled(path), data={"csrf": csrf_of(ada.get("/").text)}).status_code == 403
    if path != "/signin":
        assert ada.post(filled(path), data={"csrf": theirs}, headers=OURS).status_code == 403
        assert ada.post(filled(path), data={"reason": "x"}, headers=OURS).status_code == 403
        assert stranger(world.console).post(filled(path), data={"csrf": theirs}, headers=OURS).status_code == 401
    assert handled(world, RUNNING) == before


def test_a_link_signs_its_person_in_and_its_token_leaves_the_address(world: World) -> None:
    client = stranger(world.console)
    link = world.console.sessions.link("", "grace")
    answer = client.get(link, follow_redirects=False)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert 'content="0; url=/"' in answer.text
    token = parse_qs(urlsplit(link).query)["token"][0]
    assert token in link
    assert token not in client.get("/").text
    assert "<span>grace</span>" in client.get("/").text


@pytest.mark.parametrize("token", ["", "x", "'; --"])
def test_a_wrong_token_signs_nobody_in(world: World, token: str) -> None:
    client = stranger(world.console)
    answer = client.post("/signin", data={"person": PERSON, "token": token}, headers=OURS)
    assert answer.status_code == 403
    assert "This token is not of that person" in answer.text
    assert "set-cookie" not in answer.headers


def test_signing_in_leads_to_where_one_wanted_to_be_and_never_elsewhere(world: World) -> None:
    client = stranger(world.console)
    assert "/signin?next=%2Fwaiting%3Fa%3D1" in client.get("/waiting?a=1").text
    form = {"person": PERSON, "token": world.console.sessions.token(PERSON)}
    inside = client.post("/signin", data={**form, "next": "/waiting"}, headers=OURS)
    assert 'content="0; url=/waiting"' in inside.text
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        answer = client.post("/signin", data={**form, "next": elsewhere}, headers=OURS)
        assert 'content="0; url=/"' in answer.text


def test_who_signs_out_is_a_stranger_again(world: World) -> None:
    client = signed_in(world.console)
    answer = client.post("/signout", data={"csrf": csrf_of(client.get("/").text)}, headers=OURS)
    assert "Sign in" in answer.text
    assert client.get("/").status_code == 401


def test_another_name_of_this_machine_is_refused(world: World) -> None:
    answer = signed_in(world.console).get("/", headers={"host": "rebound.example"})
    assert answer.status_code == 421


# ---- what every answer carries -------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/signin", "/none", "/static/console.css", "/letters/x", "/healthz"])
def test_every_answer_forbids_frames_foreign_scripts_and_guessing(ada: TestClient, path: str) -> None:
    headers = ada.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", f"/experiments/{LEAKED}", CONFIRM, "/letters", "/search?q=a"])
def test_no_page_has_inline_script_or_style_or_anything_from_elsewhere(ada: TestClient, path: str) -> None:
    answer = ada.get(path)
    text = answer.text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text)
    assert answer.headers["cache-control"] == "no-store"


# ---- asking --------------------------------------------------------------------------------------


def test_a_confirmation_says_what_follows_and_asks_nothing_by_itself(world: World, ada: TestClient) -> None:
    before = handled(world, RUNNING)
    shown = words_of(ada.get(f"/experiments/{RUNNING}/ask/stop").text)
    assert "Nobody gets the treatment variant 'b' any more: 50 % of the traffic may get it now." in shown
    assert "Everybody gets 'a'." in shown
    assert "Only a person's resume ends it" in shown
    assert "Controllers that have to apply it: flagd." in shown
    assert handled(world, RUNNING) == before


def test_what_the_lifecycle_does_not_allow_is_not_offered(ada: TestClient) -> None:
    shown = ada.get(f"/experiments/{WAITING}").text
    assert {action for action in OFFERS | DECISIONS if f"/ask/{action}" in shown} == {"approve", "reject", "start"}
    assert "not allowed while it is registered" in ada.get(f"/experiments/{WAITING}/ask/stop").text
    assert ada.get(f"/experiments/{WAITING}/ask/delete").status_code == 404


def test_a_person_pauses_and_resumes_by_name_with_a_reason_and_a_share(world: World, ada: TestClient) -> None:
    fields = fields_of(ada.get(CONFIRM).text)
    done = ada.post(CONFIRM, data={**fields, "reason": "<b>costs</b> too much"}, headers=OURS, follow_redirects=False)
    assert done.headers["location"] == f"/experiments/{RUNNING}?done=pause"
    assert handled(world, RUNNING)[-1] == ("pause", PERSON, True, "<b>costs</b> too much")
    assert ada.post(CONFIRM, data={**fields, "reason": "twice"}, headers=OURS).status_code == 200
    assert [request[0] for request in handled(world, RUNNING)].count("pause") == 1

    world.installation.wait(lambda: world.lifecycle(RUNNING) == "paused")
    resume = f"/experiments/{RUNNING}/ask/resume"
    world.installation.wait(lambda: "paused, run 1" in ada.get(resume).text)
    stale = {**fields_of(ada.get(resume).text), "seen": "running, run 1, epoch 1"}
    refused = ada.post(resume, data={**stale, "exposure": "25"}, headers=OURS)
    assert refused.status_code == 409
    assert "look again" in refused.text
    fresh = fields_of(ada.get(resume).text)
    assert "is no exposure" in ada.post(resume, data={**fresh, "exposure": "0"}, headers=OURS).text
    fresh = fields_of(ada.get(resume).text)
    assert ada.post(resume, data={**fresh, "exposure": "25"}, headers=OURS).status_code == 200
    world.installation.wait(lambda: world.lifecycle(RUNNING) == "running")
    world.installation.wait(lambda: "running 25 %" in words_of(ada.get("/").text))


def test_a_refusal_of_the_judge_is_shown_with_its_reason(world: World, ada: TestClient) -> None:
    path = f"/experiments/{WAITING}/ask/stop"
    fields = fields_of(ada.get(f"/experiments/{WAITING}/ask/start").text)
    answer = ada.post(path, data=fields, headers=OURS)
    assert answer.status_code == 409
    assert "stop is not allowed while the experiment is registered" in words_of(answer.text)


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"request_id": "1"}, "has lost its id"), ({"reason": "x" * 501}, "longer than 500 characters")],
)
def test_a_form_that_was_tampered_with_is_refused(ada: TestClient, fields: dict[str, str], why: str) -> None:
    good = fields_of(ada.get(CONFIRM).text)
    answer = ada.post(CONFIRM, data={**good, **fields}, headers=OURS)
    assert answer.status_code == 409
    assert why in answer.text


def test_a_form_has_bounds(ada: TestClient) -> None:
    large = {"csrf": "x", "reason": "x" * 100_000}
    assert ada.post(CONFIRM, data=large, headers=OURS).status_code == 413
    many = {f"f{n}": "x" for n in range(50)}
    assert ada.post(CONFIRM, data=many, headers=OURS).status_code == 400
    assert ada.post(CONFIRM, content=b"{}", headers={**OURS, "content-type": "application/json"}).status_code == 415


# ---- hostile texts -------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE journal; --",
    "\\'; SELECT 1 --",
    "{experiment:String} %s {{ 7*7 }} {% raw %}",
    "%' OR 1=1 --",
    "☃\u202e\x00",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_are_searched_for_as_words(ada: TestClient, text: str) -> None:
    answer = ada.get("/search", params={"q": text})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    assert "Nothing of that is recorded" in answer.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_experiments_that_do_not_exist(ada: TestClient, text: str) -> None:
    encoded = quote(text, safe="")
    for path in (f"/experiments/{encoded}", f"/experiments/{encoded}/ask/stop", f"/letters?code={encoded}"):
        answer = ada.get(path)
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert answer.status_code in (200, 404)


def test_what_a_sender_wrote_is_text_in_the_dead_letters(ada: TestClient) -> None:
    shown = ada.get("/letters").text
    letter = re.findall(r'href="/letters/(\d+-\d+)"', shown)[0]
    assert "<img" not in ada.get(f"/letters/{letter}").text.split("</header>")[1]


def test_the_reason_of_a_person_is_text_on_every_page(world: World, ada: TestClient) -> None:
    path = f"/experiments/{WAITING}/ask/start"
    reason = "<img src=x onerror=alert(1)>"
    refused = ada.post(path, data={**fields_of(ada.get(path).text), "reason": reason, "seen": "x"}, headers=OURS)
    assert refused.status_code == 409
    assert reason not in refused.text
    assert "&lt;img src=x onerror=alert(1)&gt;" in refused.text


def test_request_ids_of_forms_are_new_each_time(ada: TestClient) -> None:
    ids = {fields_of(ada.get(CONFIRM, headers=HTML).text)["request_id"] for _ in range(3)}
    assert len(ids) == len({uuid.UUID(found) for found in ids}) == 3

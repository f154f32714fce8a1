"""The pages that change something: signing in and out, and requests with their confirmation."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from stoploss.console.asking import DECISIONS, OFFERS, asked_of, consequences, first_stage, offers, state_of
from stoploss.console.deciding import body_of_form, choice, outcome_of_decision
from stoploss.console.guard import fields_of, posted, session_of
from stoploss.console.line import LINE_OFFERS, line_consequences, offered
from stoploss.console.parts import console_of
from stoploss.console.reads import Standing, tried
from stoploss.console.rendering import page
from stoploss.console.sessions import SESSION_S
from stoploss.errors import RequestRefused
from stoploss.lifecycle import FREEZE

SEE_OTHER = HTTPStatus.SEE_OTHER


# ---- signing in and out --------------------------------------------------------------------------


def sign_in(request: Request) -> Response:
    """By the link that `stoploss console` prints; without its token: the form, or on to where a person wanted to be."""
    asked, next_path = request.query_params, local_path(request.query_params.get("next", "/"))
    if "token" in asked:
        return _signed_in(request, asked.get("person", ""), asked["token"], next_path)
    if request.state.session is not None:
        return RedirectResponse(next_path, SEE_OTHER)
    return page(request, "signin.html", person="", next=next_path, refused=False)


async def sign_in_by_form(request: Request) -> Response:
    fields = await fields_of(request)
    next_path = local_path(fields.get("next", "/"))
    person, token = fields.get("person", "").strip(), fields.get("token", "").strip()
    return await run_in_threadpool(_signed_in, request, person, token, next_path)


def _signed_in(request: Request, person: str, token: str, next_path: str) -> Response:
    """Not by redirection: a browser that came by a link of another site would keep the new cookie back."""
    sessions = console_of(request).sessions
    if not sessions.knows(person, token):
        return page(request, "signin.html", status=403, person=person, next=next_path, refused=True)
    answer = page(request, "moving.html", path=next_path, direct=True)
    answer.set_cookie(
        sessions.cookie,
        sessions.begin(person),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


async def sign_out(request: Request) -> Response:
    await posted(request)
    answer = RedirectResponse("/signin", SEE_OTHER)
    answer.delete_cookie(console_of(request).sessions.cookie, httponly=True, samesite="strict")
    return answer


def local_path(path: str) -> str:
    """A path of this console, whatever a link says.

    >>> local_path("/experiments/a?x=1"), local_path("//evil.example"), local_path("https://evil.example")
    ('/experiments/a?x=1', '/', '/')
    """
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local else "/"


# ---- requests about an experiment ----------------------------------------------------------------


def confirm(request: Request) -> Response:
    """What would follow, and the form that asks for it."""
    return _confirmation(request, {})


def _confirmed_again(request: Request, refused: str, filled: dict[str, str]) -> Response:
    """With why it was refused, and what was written; another request, with another id."""
    return _confirmation(request, filled, refused, HTTPStatus.CONFLICT)


def _confirmation(
    request: Request, filled: dict[str, str], refused: str | None = None, status: int = HTTPStatus.OK
) -> Response:
    """filled: what the form had when it was refused."""
    action = _action(request)
    standing, kafka = console_of(request).reads.standing(request.path_params["name"])
    return page(
        request,
        "confirm_decision.html" if action in DECISIONS else "confirm.html",
        status=status,
        standing=standing,
        seen=state_of(standing, action),
        request_id=str(uuid.uuid4()),
        filled=filled,
        refused=refused,
        troubles_found=[kafka] if kafka else [],
        **(_of_decision if action in DECISIONS else _of_offer)(request, action, standing),
    )


def _of_offer(_: Request, action: str, standing: Standing) -> dict[str, object]:
    offer = OFFERS[action]
    return {
        "offer": offer,
        "consequences": consequences(action, standing),
        "is_offered": offer in offers(standing.status.lifecycle),
        "first_stage": first_stage(standing.spec),
    }


def _of_decision(request: Request, action: str, standing: Standing) -> dict[str, object]:
    viewer, now = console_of(request).viewer(session_of(request).person), datetime.now(UTC)
    return {
        "offer": DECISIONS[action],
        "consequences": outcome_of_decision(action, standing, viewer, now),
        "choice": choice(action, standing, viewer, now),
    }


def _action(request: Request) -> str:
    action: str = request.path_params["action"]
    if action not in (known := (*OFFERS, *DECISIONS)):
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no request {action!r}; there are {', '.join(known)}")
    return action


async def ask(request: Request) -> Response:
    """Sends it, and shows the experiment once the judge has accepted; the confirmation again where it has not."""
    fields = await posted(request)
    action = _action(request)
    try:
        await run_in_threadpool(_sent, request, fields)
    except RequestRefused as error:
        return await run_in_threadpool(_confirmed_again, request, str(error), fields)
    name = quote(request.path_params["name"], safe="")
    return RedirectResponse(f"/experiments/{name}?done={action}", SEE_OTHER)


def _sent(request: Request, fields: dict[str, str]) -> None:
    console = console_of(request)
    name, action = request.path_params["name"], _action(request)
    standing, _ = console.reads.standing(name)
    asked = asked_of(fields)
    if action in DECISIONS:
        asked = replace(asked, body=body_of_form(action, name, fields))
    console.desk.ask(session_of(request).person, action, standing, asked)


# ---- requests about the whole line ---------------------------------------------------------------


def confirm_of_line(request: Request) -> Response:
    return _confirmation_of_line(request)


def _refused_of_line(request: Request, refused: str, reason: str) -> Response:
    return _confirmation_of_line(request, refused, reason, HTTPStatus.CONFLICT)


def _confirmation_of_line(
    request: Request, refused: str | None = None, reason: str = "", status: int = HTTPStatus.OK
) -> Response:
    action, reads = _action_of_line(request), console_of(request).reads
    standings, kafka = reads.standings()
    frozen = tried(reads.frozen)
    troubles_found = [trouble for trouble in (kafka or frozen.trouble,) if trouble]
    return page(
        request,
        "confirm_line.html",
        status=status,
        offer=LINE_OFFERS[action],
        consequences=line_consequences(action, standings),
        seen=frozen.value or "",
        is_offered=LINE_OFFERS[action] == offered(frozen.value),
        request_id=str(uuid.uuid4()),
        reason=reason,
        refused=refused,
        troubles_found=troubles_found,
    )


async def ask_of_line(request: Request) -> Response:
    """Sends it, and shows all experiments once the registrar has accepted; the confirmation again where it has not."""
    fields = await posted(request)
    action = _action_of_line(request)
    try:
        await run_in_threadpool(_sent_of_line, request, action, fields)
    except RequestRefused as error:
        return await run_in_threadpool(_refused_of_line, request, str(error), fields.get("reason", ""))
    return RedirectResponse(f"/?done={action}", SEE_OTHER)


def _action_of_line(request: Request) -> str:
    action: str = request.path_params["action"]
    if action not in LINE_OFFERS:
        known = ", ".join(LINE_OFFERS)
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no request {action!r} of the line; there are {known}")
    return action


def _sent_of_line(request: Request, action: str, fields: dict[str, str]) -> None:
    """Whether the line is stopped may be unreadable: that keeps nobody from stopping it."""
    console, person = console_of(request), session_of(request).person
    console.desk.ask_of_line(person, action, asked_of(fields), tried(console.reads.frozen).value)
    tried(lambda: console.reads.await_frozen(action == FREEZE))

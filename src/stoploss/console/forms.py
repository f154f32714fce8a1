"""The pages that change something: signing in and out, and requests with their confirmation."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from stoploss.console.asking import OFFERS, asked_of, consequences, first_stage, offers, state_of
from stoploss.console.guard import fields_of, posted, session_of
from stoploss.console.parts import console_of
from stoploss.console.rendering import page
from stoploss.console.sessions import SESSION_S
from stoploss.errors import RequestRefused

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
    return _signed_in(request, fields.get("person", "").strip(), fields.get("token", "").strip(), next_path)


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


# ---- requests ------------------------------------------------------------------------------------


def confirm(request: Request) -> Response:
    """What would follow, and the form that asks for it."""
    return _confirmation(request)


def _confirmed_again(request: Request, refused: str, reason: str) -> Response:
    """With why it was refused, and what was written; another request, with another id."""
    return _confirmation(request, refused, reason, HTTPStatus.CONFLICT)


def _confirmation(
    request: Request, refused: str | None = None, reason: str = "", status: int = HTTPStatus.OK
) -> Response:
    name, action = request.path_params["name"], request.path_params["action"]
    if action not in OFFERS:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no request {action!r}; there are {', '.join(OFFERS)}")
    standing, kafka = console_of(request).reads.standing(name)
    return page(
        request,
        "confirm.html",
        status=status,
        offer=OFFERS[action],
        standing=standing,
        consequences=consequences(action, standing),
        seen=state_of(standing),
        is_offered=OFFERS[action] in offers(standing.status.lifecycle),
        first_stage=first_stage(standing.spec),
        request_id=str(uuid.uuid4()),
        reason=reason,
        refused=refused,
        troubles_found=[kafka] if kafka else [],
    )


async def ask(request: Request) -> Response:
    """Sends it, and shows the experiment once the judge has accepted; the confirmation again where it has not."""
    fields = await posted(request)
    action = request.path_params["action"]
    if action not in OFFERS:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no request {action!r}")
    try:
        await run_in_threadpool(_sent, request, fields)
    except RequestRefused as error:
        return await run_in_threadpool(_confirmed_again, request, str(error), fields.get("reason", ""))
    name = quote(request.path_params["name"], safe="")
    return RedirectResponse(f"/experiments/{name}?done={action}", SEE_OTHER)


def _sent(request: Request, fields: dict[str, str]) -> None:
    console = console_of(request)
    standing, _ = console.reads.standing(request.path_params["name"])
    console.desk.ask(session_of(request).person, request.path_params["action"], standing, asked_of(fields))

"""Around every page: who may see it, that no other site makes a browser send it, and what the browser allows."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stoploss.console.rendering import page
from stoploss.console.sessions import Session, Sessions, agrees

LARGEST_FORM_BYTES = 64 * 1_024
MOST_FIELDS = 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PUBLIC = ("/signin", "/static/", "/healthz")
CSRF_FIELD = "csrf"
SAME_SITE = ("same-origin", "none")
"""What a browser says of a request that no other site has made: ours, or typed by the user."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: a browser would then give 'null' as the origin of our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Lets requests through to `app` that carry a session, and puts the headers on every answer.

    only_loopback  the console listens on this machine alone: a request for another name is one by rebound DNS
    """

    def __init__(self, app: ASGIApp, sessions: Sessions, only_loopback: bool) -> None:
        self._app, self._sessions, self._only_loopback = app, sessions, only_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        connection = HTTPConnection(scope)
        if self._only_loopback and not is_loopback(connection.headers.get("host", "")):
            return PlainTextResponse("this console answers on this machine only", HTTPStatus.MISDIRECTED_REQUEST)
        session = self._sessions.session(connection.cookies.get(self._sessions.cookie, ""))
        scope.setdefault("state", {})["session"] = session
        if scope["method"] not in ("GET", "HEAD") and not is_same_origin(connection.headers):
            return PlainTextResponse("refused: another site has sent this request", HTTPStatus.FORBIDDEN)
        if session is None and not scope["path"].startswith(PUBLIC):
            return _not_signed_in(Request(scope))
        return None


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("localhost:8765"), is_loopback("[::1]:8765"), is_loopback("evil.example:8765")
    (True, True, False)
    """
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:
        return False


def is_same_origin(headers: Headers) -> bool:
    """Whether a request that changes something comes from our own page; without an Origin it does not."""
    if headers.get("sec-fetch-site", "same-origin") not in SAME_SITE:
        return False
    scheme, _, origin = headers.get("origin", "").partition("://")
    return scheme in ("http", "https") and origin == headers.get("host")


def _not_signed_in(request: Request) -> Response:
    """A browser that came by a link of another site has kept its cookie back: our page asks once more by itself."""
    if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse("not signed in: open the link that `stoploss console` prints", HTTPStatus.UNAUTHORIZED)
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return page(request, "moving.html", status=HTTPStatus.UNAUTHORIZED, path=path, direct=False)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


# ---- forms ---------------------------------------------------------------------------------------


def session_of(request: Request) -> Session:
    """The session that the guard has found."""
    found: Session | None = request.state.session
    if found is None:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "not signed in")
    return found


async def posted(request: Request) -> dict[str, str]:
    """Fields of a form that this session was given. Raises HTTPException where it was not."""
    fields = await fields_of(request)
    if not agrees(session_of(request), fields.get(CSRF_FIELD, "")):
        raise HTTPException(HTTPStatus.FORBIDDEN, "this form is not of your session; open the page again")
    return fields


async def fields_of(request: Request) -> dict[str, str]:
    """Fields of a form, each once. Raises HTTPException where the body is too large or no form."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this is no form")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "this form is too large")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"))
    except ValueError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "this form cannot be read") from error

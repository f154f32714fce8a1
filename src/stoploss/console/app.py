"""The console as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from stoploss.cli.addresses import first_line
from stoploss.console import forms, pages
from stoploss.console.guard import Guard
from stoploss.console.parts import Console
from stoploss.console.rendering import STATIC, page
from stoploss.errors import ConfigurationError, InvalidExperiment, RequestRefused, StoplossError
from stoploss.review.errors import UnknownExperiment
from stoploss.review.html import STATIC as REVIEW_STATIC
from stoploss.review.html import plotly_path

ONE_HOUR = "max-age=3600"
STATUS = {
    UnknownExperiment: HTTPStatus.NOT_FOUND,
    RequestRefused: HTTPStatus.NOT_FOUND,
    InvalidExperiment: HTTPStatus.UNPROCESSABLE_ENTITY,
    ConfigurationError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def build(console: Console, *, only_loopback: bool = True) -> Starlette:
    """The application; `console` is closed with it."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        console.close()

    app = Starlette(
        routes=routes(),
        middleware=[Middleware(Guard, sessions=console.sessions, only_loopback=only_loopback)],
        exception_handlers={
            HTTPException: _http_fault,
            StoplossError: _fault,
            KafkaException: _driver_fault,
            ClickHouseError: _driver_fault,
        },
        lifespan=lifespan,
    )
    app.state.console = console
    return app


def routes() -> list[Route | Mount]:
    one = "/experiments/{name}"
    return [
        Route("/", pages.experiments),
        Route("/waiting", pages.inbox),
        Route("/budgets", pages.budgets),
        Route("/search", pages.search),
        Route("/letters", pages.letter_list),
        Route("/letters/{id}", pages.letter),
        Route(one, pages.experiment),
        Route(f"{one}/pictures", pages.drawings),
        Route(f"{one}/review", pages.review),
        Route(f"{one}/review.md", pages.review_file),
        Route(f"{one}/ask/{{action}}", forms.confirm),
        Route(f"{one}/ask/{{action}}", forms.ask, methods=["POST"]),
        Route("/line/ask/{action}", forms.confirm_of_line),
        Route("/line/ask/{action}", forms.ask_of_line, methods=["POST"]),
        Route("/signin", forms.sign_in),
        Route("/signin", forms.sign_in_by_form, methods=["POST"]),
        Route("/signout", forms.sign_out, methods=["POST"]),
        Route("/events", pages.events),
        Route("/healthz", pages.is_well),
        Route("/static/plotly.min.js", _plotly),
        Route("/static/drawing.js", _drawing),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


def _plotly(_: Request) -> Response:
    return FileResponse(plotly_path(), media_type="text/javascript", headers={"Cache-Control": ONE_HOUR})


def _drawing(_: Request) -> Response:
    return FileResponse(REVIEW_STATIC / "drawing.js", media_type="text/javascript")


# ---- what goes wrong -----------------------------------------------------------------------------


def _http_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return page(request, "fault.html", status=error.status_code, sentence=error.detail)


def _fault(request: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    return page(request, "fault.html", status=status, sentence=str(error))


def _driver_fault(request: Request, error: Exception) -> Response:
    sentence = f"{first_line(error)}; try again, or look with `stoploss doctor`"
    return page(request, "fault.html", status=HTTPStatus.SERVICE_UNAVAILABLE, sentence=sentence)

"""Templates to answers. Everything that a template prints is escaped; nothing is ever marked as safe."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from stoploss import __version__
from stoploss.cli.budgets import forecast, owner, spent
from stoploss.console.parts import console_of
from stoploss.console.reads import Found, tried
from stoploss.review.beside import difference_text
from stoploss.review.guardrails import effect_text, interval_text, margin_text, metric_text
from stoploss.review.recommended import recommendation_text
from stoploss.review.words import count, duration, number, printable, share, utc

HERE = Path(__file__).parent
STATIC = HERE / "static"
STATES = {
    "registered": "waiting",
    "approved": "waiting",
    "running": "good",
    "adopted": "good",
    "holding": "warning",
    "paused": "warning",
    "stopped": "bad",
    "rolled_back": "bad",
    "spent": "bad",
    "breach": "bad",
    "worse": "bad",
    "rollback": "bad",
    "differs": "warning",
    "iterate": "warning",
    "safe": "good",
    "ok": "good",
    "better": "good",
    "rollout": "good",
    "undecided": "quiet",
    "equivalent": "quiet",
    "not judged": "quiet",
}
"""Colour of a state or a verdict; its name always stands beside it."""


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _words(name: str) -> str:
    """
    >>> _words("rolled_back")
    'rolled back'
    """
    return name.replace("_", " ")


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "share": share,
        "count": count,
        "number": number,
        "duration": duration,
        "utc": utc,
        "iso": _iso,
        "words": _words,
        "clean": printable,
        "segment": lambda text: quote(text, safe=""),
        "colour": lambda state: STATES.get(state, "quiet"),
    }
    made.globals |= {
        "version": __version__,
        "effect_text": effect_text,
        "interval_text": interval_text,
        "margin_text": margin_text,
        "metric_text": metric_text,
        "recommendation_text": recommendation_text,
        "owner": owner,
        "spent": spent,
        "forecast": forecast,
        "difference_text": difference_text,
    }
    return made


ENVIRONMENT = _environment()


def page(request: Request, template: str, *, status: int = HTTPStatus.OK, **values: Any) -> Response:
    """A whole page; `session` is who is signed in, `here` where they are, `frozen` whether the line is stopped."""
    session = getattr(request.state, "session", None)
    frozen: Found[str | None] = tried(console_of(request).reads.frozen) if session else Found(None)
    everywhere = {"session": session, "here": request.url.path, "frozen": frozen}
    return HTMLResponse(ENVIRONMENT.get_template(template).render(**{**everywhere, **values}), status)

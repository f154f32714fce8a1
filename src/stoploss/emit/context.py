"""The context token: what a late outcome must carry to be joined without a look-up.

A token is URL-safe base64 of a JSON object: trace id, unit, assignments, segments. It is readable and not signed: keep
it in your own back end (a session, a row, a queue message), not in a page that users can change.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from stoploss.emit.assignment import Assignment
from stoploss.emit.errors import Unsendable

VERSION = 1
SHADOW_OF = "shadow_of"
"""The attribute of a shadow run, and of outcomes about it; its value names the trace of the live request."""
LARGEST_TOKEN = 4_096
"""Characters: fits a header, a cookie-sized column and a queue message's attribute."""


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a trace once its request is over."""

    trace_id: str
    unit_id: str | None = None
    assignments: tuple[Assignment, ...] = ()
    tenant: str | None = None
    language: str | None = None
    channel: str | None = None
    conversation_id: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


def to_token(context: Context) -> str:
    """The context as a token of at most LARGEST_TOKEN characters; raises Unsendable where it does not fit."""
    document = {
        "v": VERSION,
        "t": context.trace_id,
        "u": context.unit_id,
        "a": [[a.experiment, a.variant, a.run, a.epoch, a.consent] for a in context.assignments],
        "s": [context.tenant, context.language, context.channel],
        "c": context.conversation_id,
        "x": dict(context.attributes),
    }
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unsendable("context: a value is no text") from error
    token = base64.urlsafe_b64encode(text.encode()).decode()
    if len(token) > LARGEST_TOKEN:
        raise Unsendable(f"context: over {LARGEST_TOKEN} characters")
    return token


def from_token(token: object) -> Context:
    """The context of a token; raises Unsendable with the reason, whatever the token is."""
    if not isinstance(token, str) or not token:
        raise Unsendable("context: no token")
    if len(token) > LARGEST_TOKEN:
        raise Unsendable(f"context: over {LARGEST_TOKEN} characters")
    try:
        document = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise Unsendable("context: not base64 of JSON") from error
    if not isinstance(document, dict) or document.get("v") != VERSION:
        raise Unsendable(f"context: not version {VERSION}")
    try:
        return _context(document)
    except (KeyError, TypeError, ValueError) as error:
        raise Unsendable("context: fields of another shape") from error


def _context(document: dict[str, object]) -> Context:
    tenant, language, channel = _texts(document["s"])
    attributes = document["x"]
    if not isinstance(document["t"], str) or not isinstance(attributes, dict):
        raise TypeError("trace id or attributes")
    return Context(
        trace_id=document["t"],
        unit_id=_texts([document["u"]])[0],
        assignments=_assignments(document["a"]),
        tenant=tenant,
        language=language,
        channel=channel,
        conversation_id=_texts([document.get("c")])[0],
        attributes=dict(zip(attributes, map(str, attributes.values()), strict=True)),
    )


def _texts(values: object) -> list[str | None]:
    if not isinstance(values, list) or not all(value is None or isinstance(value, str) for value in values):
        raise TypeError("not a list of texts")
    return values


def _assignments(rows: object) -> tuple[Assignment, ...]:
    if not isinstance(rows, list):
        raise TypeError("assignments")
    found = tuple(Assignment(*row) for row in rows)
    if not all(isinstance(a.experiment, str) and isinstance(a.variant, str) for a in found):
        raise TypeError("assignments")
    return found

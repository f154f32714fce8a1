"""What is wrong with an adapter beyond its form: each fault with its field, its value and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf
from typing import Any, get_args

from stoploss.commands import Action
from stoploss.control.adapter.command_names import COMMAND_NAMES
from stoploss.control.adapter.matching import matches
from stoploss.control.adapter.spec import Adapter, Request, Treatment
from stoploss.control.adapter.template import Place, template
from stoploss.control.http import is_address
from stoploss.spec.file import Fault
from stoploss.spec.file import Path as At

LONGEST_S = 60
NAME = re.compile(r"[A-Za-z_]\w*")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
Text = tuple[At, str]


def faults(adapter: Adapter) -> Iterator[Fault]:
    if not adapter.requests:
        yield ("requests",), "holds nothing, so no command would reach anybody; give it a request"
        return
    yield from _names(adapter)
    yield from _plain(adapter)
    yield from _secrets(adapter)
    for index, request in enumerate(adapter.requests):
        yield from _request(adapter, request, ("requests", index))
    yield from _segments(adapter)
    yield from _unused(adapter)
    yield from _headers(("idempotencyHeader",), adapter.idempotency_header)
    yield from _takes_away(adapter)
    yield from _duration(adapter)


def texts_of(request: Request, at: At = ()) -> Iterator[Text]:
    """Every text of a request that is a template, with its place."""
    yield (*at, "url"), request.url
    for name, value in request.headers.items():
        yield (*at, "headers", name), value
    yield from _texts_in(request.body, (*at, "body"))


def _texts_in(node: Any, at: At) -> Iterator[Text]:
    if isinstance(node, str):
        yield at, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield (*at, key), str(key)
            yield from _texts_in(value, (*at, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _texts_in(value, (*at, index))


def _names(adapter: Adapter) -> Iterator[Fault]:
    known = set(COMMAND_NAMES)
    for part, names in (("variables", adapter.variables), ("tables", adapter.tables), ("secrets", adapter.secrets)):
        for name in names:
            if not NAME.fullmatch(name):
                yield (part, name), f"{name!r} is no name; use letters, digits and _"
            if name in known:
                yield (part, name), f"{name!r} has a meaning already; give it another name"
            known.add(name)


def _plain(adapter: Adapter) -> Iterator[Fault]:
    """YAML makes dates of 2026-01-01 and truths of on and off: neither can be meant in JSON."""
    for name, table in adapter.tables.items():
        yield from _plain_in(table, ("tables", name))
    for index, request in enumerate(adapter.requests):
        yield from _plain_in(request.body, ("requests", index, "body"))


def _plain_in(node: Any, at: At) -> Iterator[Fault]:
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str):
                yield at, f"the key {key!r} is no text; write it in quotes"
            yield from _plain_in(value, (*at, str(key)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _plain_in(value, (*at, index))
    elif not isinstance(node, str | int | float | bool | None) or node in (inf, -inf) or node != node:
        yield at, f"{node!r} is no value of JSON; write it in quotes"


def _secrets(adapter: Adapter) -> Iterator[Fault]:
    for name, secret in adapter.secrets.items():
        if (secret.env is None) == (secret.file is None):
            yield ("secrets", name), f"{name!r} has both or none of env and file; give it exactly one"
    if adapter.signature is not None and adapter.signature.secret not in adapter.secrets:
        known = ", ".join(adapter.secrets) or "none"
        yield ("signature", "secret"), f"{adapter.signature.secret!r} is no secret of this adapter; known: {known}"


def _request(adapter: Adapter, request: Request, at: At) -> Iterator[Fault]:
    for name in request.headers:
        yield from _headers((*at, "headers", name), name)
    if request.method == "GET" and request.body is not None:
        yield (*at, "body"), "a GET has no body; use another method, or remove the body"
    wrong = [fault for place, text in texts_of(request, at) if (fault := _template(adapter, place, text))]
    yield from wrong
    if not wrong:
        yield from _address(adapter, request, (*at, "url"))


def _headers(at: At, name: str) -> Iterator[Fault]:
    if not HEADER.fullmatch(name):
        yield at, f"{name!r} is no name of a header; use letters, digits and '-'"


def _template(adapter: Adapter, at: At, text: str) -> Fault | None:
    try:
        places = template(text).places
    except ValueError as error:
        return at, str(error)
    found = (_place(adapter, place) for place in places)
    return next(((at, fault) for fault in found if fault), None)


def _place(adapter: Adapter, place: Place) -> str | None:
    first, *rest = place.path
    plain = (*sorted(COMMAND_NAMES), *adapter.variables)
    if first not in (*plain, *adapter.secrets, *adapter.tables):
        known = ", ".join((*plain, *adapter.secrets, *adapter.tables))
        return f"{place} names {first!r}, which nothing is called; known names: {known}"
    if first in adapter.tables and not rest:
        return f"{place} is a table; write ${{{first}.flag}}, or another name to look up in it"
    if rest and first not in adapter.tables:
        return f"{place}: {first!r} is no table, so nothing can be looked up in it; write ${{{first}}}"
    if unknown := [name for name in rest if name not in plain]:
        return f"{place} looks up {unknown[0]!r}, which nothing is called; known names: {', '.join(plain)}"
    return None


def _address(adapter: Adapter, request: Request, at: At) -> Iterator[Fault]:
    """A variable may begin an address; what comes later is a part of its path and is quoted."""
    parsed = template(request.url)
    if secret := [str(place) for place in parsed.places if place.path[0] in adapter.secrets]:
        yield at, f"{secret[0]} is a secret, and addresses stand in logs; send it in a header or in the body"
        return
    first, *_ = (*parsed.parts, "")
    start = first if isinstance(first, str) else str(adapter.variables.get(first.path[0], ""))
    if not (is_address(start) or is_address(f"{start}host")):
        yield at, f"{request.url!r} begins with no http:// or https:// address; write it, or a variable that holds it"


def _segments(adapter: Adapter) -> Iterator[Fault]:
    used = any(place.path[0] == "stopped_segments" for place in _places(adapter))
    if adapter.stopped_segments == "passed" and not used:
        yield ("stoppedSegments",), "passed, but no request has ${stopped_segments}; use it, or write close"
    if adapter.stopped_segments == "close" and used:
        yield ("stoppedSegments",), "${stopped_segments} is used, so the receiver keeps them out itself: write passed"


def _unused(adapter: Adapter) -> Iterator[Fault]:
    used = {name for place in _places(adapter) for name in place.path}
    signing = {adapter.signature.secret} if adapter.signature is not None else set()
    for part, names in (("variables", adapter.variables), ("tables", adapter.tables), ("secrets", adapter.secrets)):
        for name in names:
            if name not in used | signing:
                yield (part, name), f"{name!r} is used nowhere; use it as ${{{name}}}, or remove it"


def _places(adapter: Adapter) -> list[Place]:
    found: list[Place] = []
    for request in adapter.requests:
        for _, text in texts_of(request):
            try:
                found += template(text).places
            except ValueError:
                continue  # told where it stands
    return found


def _sent(adapter: Adapter, action: Action, treatment: Treatment) -> list[Request]:
    return [request for request in adapter.requests if matches(request.when, action, treatment)]


def _takes_away(adapter: Adapter) -> Iterator[Fault]:
    """What cannot stop is no stop-loss."""
    for action in (Action.STOP, Action.ROLLBACK, Action.PAUSE):
        if all(request.method == "GET" for request in _sent(adapter, action, "none")):
            yield ("requests",), f"none of them takes the treatment away on a {action.value}; give one that does"
            return


def _duration(adapter: Adapter) -> Iterator[Fault]:
    """Commands are obeyed one after the other: while one is tried again, a stop waits."""
    most = max(len(_sent(adapter, action, treatment)) for action in Action for treatment in get_args(Treatment))
    longest_s = adapter.retry.longest_s(adapter.timeout) * most
    if longest_s > LONGEST_S:
        yield (
            ("retry",),
            f"one command could take {longest_s:.0f} s and hold up a stop for so long; at most {LONGEST_S} s are "
            "allowed: fewer attempts, a shorter pause or timeout",
        )

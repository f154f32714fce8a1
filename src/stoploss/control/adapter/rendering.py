"""A command and an adapter to the requests that go out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from stoploss.commands import Command
from stoploss.control.adapter.command_names import names_of, treatment_parts
from stoploss.control.adapter.matching import matches, treatment_of
from stoploss.control.adapter.spec import Adapter, Request
from stoploss.control.adapter.template import Names, Template, template
from stoploss.control.http import Outgoing
from stoploss.errors import CommandRefused


def rendered(adapter: Adapter, command: Command, secrets: Mapping[str, str]) -> list[Outgoing]:
    """The requests for a command, in order; raises CommandRefused where the adapter cannot say what it desires."""
    closed = is_closed(adapter, command)
    names = {**names_of(command, closed=closed), **adapter.own_names, **secrets}
    treatment = treatment_of(treatment_parts(command, closed=closed))
    wanted = [one for one in adapter.requests if matches(one.when, command.action, treatment)]
    if not wanted:
        raise CommandRefused(
            f"adapter {adapter.name!r} says nothing for a {command.action.value} that gives the treatment to "
            f"{treatment} of the units; add a request with such a `when`"
        )
    return [_outgoing(adapter, request, names, number) for number, request in enumerate(wanted, 1)]


def is_closed(adapter: Adapter, command: Command) -> bool:
    """Whether nobody may get the treatment, since the receiver cannot keep a stopped segment out."""
    return adapter.stopped_segments == "close" and bool(command.stopped_segments)


def _outgoing(adapter: Adapter, request: Request, names: Names, number: int) -> Outgoing:
    headers = {"Content-Type": "application/json"} if request.body is not None else {}
    if request.method != "GET":
        headers[adapter.idempotency_header] = f"{names['command_id']}-{number}"
    given = {name: _header(name, template(value).text(names)) for name, value in request.headers.items()}
    over = {name.lower() for name in given}
    headers = {name: value for name, value in headers.items() if name.lower() not in over} | given
    body = None if request.body is None else json.dumps(_filled(request.body, names), ensure_ascii=False).encode()
    return Outgoing(request.method, _url(template(request.url), names), headers, body)


def _url(parsed: Template, names: Names) -> str:
    """A name that begins the address is the address; all others are quoted whole, slashes included."""
    first = parsed.parts[:1] if isinstance(parsed.parts[0], str) else ()
    base = "" if first else Template(parsed.parts[:1]).text(names).rstrip("/")
    return base + Template(first + parsed.parts[1:]).text(names, _quoted)


def _quoted(text: str) -> str:
    if text in ("", ".", ".."):
        raise CommandRefused(f"{text!r} cannot stand in an address: it would lead to another one")
    return quote(text, safe="")


def _header(name: str, value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise CommandRefused(f"the header {name} would hold characters that no header may hold; send it in the body")
    return value


def _filled(node: Any, names: Names) -> Any:
    if isinstance(node, str):
        return template(node).value(names)
    if isinstance(node, list):
        return [_filled(value, names) for value in node]
    return _filled_object(node, names) if isinstance(node, dict) else node


def _filled_object(node: Mapping[Any, Any], names: Names) -> dict[str, Any]:
    filled = {template(str(key)).text(names): _filled(value, names) for key, value in node.items()}
    if len(filled) < len(node):
        raise CommandRefused(f"two keys of a body become the same one: {', '.join(filled)}; look at the tables")
    return filled

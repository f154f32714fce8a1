"""The requests of a command as people read them: names instead of secrets."""

from __future__ import annotations

import json

from stoploss.commands import Command
from stoploss.control.adapter.rendering import rendered
from stoploss.control.adapter.secrets import placeholders
from stoploss.control.adapter.signed import ID, SIGNATURE, TIMESTAMP
from stoploss.control.adapter.spec import Adapter
from stoploss.control.http import Outgoing


def described(adapter: Adapter, command: Command) -> str:
    """Every request for a command, in order; raises CommandRefused where the adapter cannot say what it desires."""
    requests = rendered(adapter, command, placeholders(adapter.secrets))
    return "\n\n".join(
        _shown(outgoing, _signed(adapter, f"{command.command_id}-{number}"))
        for number, outgoing in enumerate(requests, 1)
    )


def _signed(adapter: Adapter, request_id: str) -> dict[str, str]:
    if adapter.signature is None:
        return {}
    return {ID: request_id, TIMESTAMP: "<when it is sent>", SIGNATURE: f"v1,<made with {adapter.signature.secret}>"}


def _shown(outgoing: Outgoing, signed: dict[str, str]) -> str:
    lines = [f"{outgoing.method} {outgoing.url}"]
    lines += [f"{name}: {value}" for name, value in {**outgoing.headers, **signed}.items()]
    if outgoing.body is not None:
        lines += ["", json.dumps(json.loads(outgoing.body), indent=2, ensure_ascii=False)]
    return "\n".join(lines)

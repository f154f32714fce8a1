"""Bugs of those who read what the judge has said: restores, controllers, the courier."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from stoploss.control import controller, kafka_loop
from stoploss.control.decide import Obey
from streams import courier, reading
from tests.simulation.bugs.planting import Bug, replaced


def restores_what_is_not_committed() -> AbstractContextManager[None]:
    """Cursors are read uncommitted: one whose outputs were aborted hides them for ever."""
    reader = reading.reader

    def loose(bootstrap: str, **config: object) -> Any:
        return reader(bootstrap, **{**config, "isolation.level": "read_uncommitted"})

    return replaced(reading, "reader", loose)


def controllers_obey_what_is_not_committed() -> AbstractContextManager[None]:
    settings = kafka_loop.consumer_settings
    loose = {"isolation.level": "read_uncommitted"}
    return replaced(kafka_loop, "consumer_settings", lambda controller_: {**settings(controller_), **loose})


def controllers_obey_whatever_comes_last() -> AbstractContextManager[None]:
    """No order, no latch, no expiry: a command that is sent again late undoes the one after it."""

    return replaced(controller, "decide", lambda *_, **__: Obey())


def commands_are_rewritten_when_sent_again() -> AbstractContextManager[None]:
    """A re-send is signed and stamped anew instead of being the same bytes."""
    from stoploss.control.messages import write_command
    from tests.simulation.roles import KEYS

    send = courier.Courier._send_again

    def anew(self: Any) -> None:
        for waiting in self._outstanding.waiting.values():
            later = replace(waiting.command, reason=waiting.command.reason + " (again)")
            waiting.message = write_command(later, KEYS.signer, "sim")
        send(self)

    return replaced(courier.Courier, "_send_again", anew)


BUGS: tuple[Bug, ...] = (
    restores_what_is_not_committed,
    controllers_obey_what_is_not_committed,
    controllers_obey_whatever_comes_last,
    commands_are_rewritten_when_sent_again,
)

"""What goes wrong when people ask about experiments."""

from __future__ import annotations

from collections.abc import Sequence

from stoploss.errors import StoplossError

MOST_NAMED = 20


class UnknownExperiment(StoplossError):
    """Nobody recorded an experiment of that name; the message names those that are known."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name, self.known = name, tuple(known)
        super().__init__(f"no experiment {name!r} is recorded; {_way_out(known)}")


def _way_out(known: Sequence[str]) -> str:
    if not known:
        return "none is yet: register one with `stoploss register FILE.yaml`"
    named = ", ".join(known[:MOST_NAMED])
    more = f" and {len(known) - MOST_NAMED} more (see `stoploss status`)" if len(known) > MOST_NAMED else ""
    return f"known are {named}{more}"

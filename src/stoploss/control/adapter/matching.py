"""Which requests a command needs."""

from __future__ import annotations

from stoploss.commands import Action
from stoploss.control.adapter.command_names import PARTS
from stoploss.control.adapter.spec import Treatment, When


def matches(when: When, action: Action, treatment: Treatment) -> bool:
    return when.treatment in (None, treatment) and (when.actions is None or action in when.actions)


def treatment_of(parts: int) -> Treatment:
    """
    >>> treatment_of(0), treatment_of(5_000), treatment_of(100_000)
    ('none', 'some', 'all')
    """
    if parts == 0:
        return "none"
    return "all" if parts == PARTS else "some"

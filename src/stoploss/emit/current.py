"""The request that is being handled here: per thread and per asyncio task, as contextvars have it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoploss.emit.request import Request

_current: ContextVar[Request | None] = ContextVar("stoploss_request", default=None)


def current_request() -> Request | None:
    """The innermost request whose block is open here; None outside of any."""
    return _current.get()


def begin(request: Request) -> Request | None:
    """The request is the current one from now on; gives the one around it."""
    around = _current.get()
    _current.set(request)
    return around


def end(request: Request, around: Request | None) -> None:
    """Only where it is still the current one: a block may be left in another task than it was entered in."""
    if _current.get() is request:
        _current.set(around)

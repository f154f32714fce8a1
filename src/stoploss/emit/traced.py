"""The decorator: a request around each call of a function or coroutine."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from stoploss.emit.request import Request

F = TypeVar("F", bound=Callable[..., Any])


def traced(begin: Callable[[], Request], function: F) -> F:
    """The function with a request of its own around each call; `current_request()` is that request inside.

    Raises TypeError for a generator: its body runs in the caller's context, a piece at a time.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} is a generator: write `with tracer.request(…) as request:` inside it")
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def around_coroutine(*arguments: Any, **named: Any) -> Any:
            with begin():
                return await function(*arguments, **named)

        return cast("F", around_coroutine)

    @wraps(function)
    def around(*arguments: Any, **named: Any) -> Any:
        with begin():
            return function(*arguments, **named)

    return cast("F", around)

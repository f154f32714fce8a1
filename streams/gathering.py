"""Work that gathers while the work before it is under way: small and quick when quiet, large and cheap when busy.

An agent hands its batches over and returns at once, so that the transport can go on fetching; what has come in the
meantime is worked on together. Memory is bounded by the transport, which delivers only so many bytes ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from faust.types import AppT

from streams.transport import consumer_of

T = TypeVar("T")


class Gathering(Generic[T]):
    """Items in the order of `put`, worked on by one task at a time; on the event loop.

    work  completes what it was given; whatever it raises ends the worker
    most  items that are worked on together at most
    """

    def __init__(
        self, app: Callable[[], AppT], what: str, work: Callable[[Sequence[T]], Awaitable[None]], most: int = 500
    ) -> None:
        self._app, self._what, self._work, self._most = app, what, work, most
        self._items: list[T] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, item: T) -> None:
        self._items.append(item)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())

    def drop(self, unwanted: Callable[[T], bool]) -> None:
        """Forgets waiting items that are not wanted any more."""
        self._items = [item for item in self._items if not unwanted(item)]

    def take(self) -> list[T]:
        """The oldest that wait, `most` of them; for work that has time to take more."""
        items, self._items = self._items[: self._most], self._items[self._most :]
        return items

    async def _run(self) -> None:
        try:
            while items := self.take():
                await self._work(items)
        except Exception as error:
            consumer_of(self._app()).fail(f"{self._what} failed: {error}", error)
            raise

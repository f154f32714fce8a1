"""Work that gathers: in order, one task at a time, and a failure ends the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from faust.types import AppT

from streams.gathering import Gathering


@dataclass
class Consumer:
    """Keeps what a worker would have ended with."""

    failures: list[str] = field(default_factory=list)

    def fail(self, why: str, cause: BaseException) -> None:
        self.failures.append(why)


@dataclass
class App:
    consumer: Consumer = field(default_factory=Consumer)


def gathering(work: Callable[[Sequence[int]], Awaitable[None]], app: App, most: int = 500) -> Gathering[int]:
    return Gathering(lambda: cast(AppT, app), "work", work, most)


class Work:
    """Notes what it was given; goes on only when it is let."""

    def __init__(self) -> None:
        self.given: list[list[int]] = []
        self.at_once = self.most_at_once = 0
        self.go_on = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> None:
        self.given.append(list(items))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.go_on.wait()
        self.at_once -= 1


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_comes_while_work_is_under_way_is_worked_on_together_and_in_order() -> None:
    async def story() -> Work:
        work = Work()
        gathered = gathering(work, App())
        gathered.put(1)
        await settled()
        for item in (2, 3, 4):
            gathered.put(item)
        work.go_on.set()
        await settled()
        gathered.put(5)
        await settled()
        return work

    work = asyncio.run(story())
    assert work.given == [[1], [2, 3, 4], [5]]
    assert work.most_at_once == 1


def test_no_more_than_so_many_are_worked_on_at_once() -> None:
    async def story() -> Work:
        work = Work()
        gathered = gathering(work, App(), most=2)
        for item in range(5):
            gathered.put(item)
        work.go_on.set()
        await settled()
        return work

    assert asyncio.run(story()).given == [[0, 1], [2, 3], [4]]


def test_what_is_dropped_or_taken_while_it_waits_is_not_worked_on() -> None:
    async def story() -> tuple[Work, list[int]]:
        work = Work()
        gathered = gathering(work, App(), most=2)
        gathered.put(0)
        await settled()
        for item in range(1, 7):
            gathered.put(item)
        gathered.drop(lambda item: item % 2 == 0)
        taken = gathered.take()
        work.go_on.set()
        await settled()
        return work, taken

    work, taken = asyncio.run(story())
    assert taken == [1, 3]
    assert work.given == [[0], [5]]


def test_work_that_raises_ends_the_worker_with_a_sentence_and_nothing_later_is_worked_on() -> None:
    async def story(app: App) -> list[int]:
        seen: list[int] = []

        async def work(items: Sequence[int]) -> None:
            seen.extend(items)
            raise OSError("no space left")

        gathered = gathering(work, app, most=1)
        gathered.put(1)
        gathered.put(2)
        task = gathered._task
        assert task is not None
        with pytest.raises(OSError, match="no space left"):
            await task
        return seen

    app = App()
    assert asyncio.run(story(app)) == [1]
    assert app.consumer.failures == ["work failed: no space left"]

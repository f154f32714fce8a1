"""Ticks of a worker's partitions: each by itself, so that one that is stuck holds up no other, and shows."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from stoploss.errors import DeliveryFailed
from stoploss.settings import load
from streams import judge as module
from streams.judge import Judge
from streams.partition_judge import Keys

QUICK, STUCK = 0, 1


@dataclass
class Partition:
    """Of a ledger: what a judge ticks. A stuck one waits until it is let go."""

    let_go: threading.Event = field(default_factory=threading.Event)
    ticks: int = 0
    fails: bool = False

    def tick(self, owner: str) -> None:
        assert self.let_go.wait(30)
        self.ticks += 1
        if self.fails:
            raise DeliveryFailed("the broker is gone")

    def behind_s(self) -> float:
        return 100.0 + self.ticks

    def blind_runs(self) -> int:
        return 2


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """With two partitions, of which one is stuck."""
    owned = SimpleNamespace(owned=lambda: [TP("ledger", QUICK), TP("ledger", STUCK)])
    monkeypatch.setattr(module, "consumer_of", lambda _: owned)
    monkeypatch.setattr(module, "consumer_if_any", lambda _: owned)
    judge = Judge(load(kafka="127.0.0.1:9", home=tmp_path), cast(Keys, None))
    judge._judges = cast(Any, {QUICK: Partition(), STUCK: Partition()})
    partition(judge, QUICK).let_go.set()
    return judge


def partition(judge: Judge, number: int) -> Partition:
    return cast(Partition, judge._judges[number])


def test_a_partition_that_is_stuck_holds_up_no_other_and_is_not_ticked_again_meanwhile(judge: Judge) -> None:
    async def seconds() -> None:
        for _ in range(3):
            await judge.tick()
            await judge._ticks[QUICK]
        assert (partition(judge, QUICK).ticks, partition(judge, STUCK).ticks) == (3, 0)
        partition(judge, STUCK).let_go.set()
        await judge._ticks[STUCK]
        assert partition(judge, STUCK).ticks == 1

    asyncio.run(seconds())


def test_a_tick_that_fails_ends_the_worker_at_the_next(judge: Judge) -> None:
    async def seconds() -> None:
        partition(judge, STUCK).let_go.set()
        partition(judge, QUICK).fails = True
        await judge.tick()
        await asyncio.wait(judge._ticks.values())
        with pytest.raises(DeliveryFailed, match="the broker is gone"):
            await judge.tick()

    asyncio.run(seconds())


def test_how_far_a_judge_sees_is_what_its_partitions_say_when_somebody_looks(judge: Judge) -> None:
    assert judge.app.sights is not None
    assert judge.app.sights() == {QUICK: (100.0, 2), STUCK: (100.0, 2)}
    partition(judge, STUCK).ticks = 5
    assert judge.app.sights()[STUCK].behind_s == 105.0


def test_a_partition_that_is_not_provably_ours_any_more_is_neither_ticked_nor_told_of(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timers fire on every worker, whatever it owns, and during rebalances: two owners would count time twice."""
    monkeypatch.setattr(module.consumer_of(judge.app), "owned", lambda: [TP("ledger", QUICK)])
    partition(judge, STUCK).let_go.set()

    async def second() -> None:
        await judge.tick()
        await asyncio.wait(judge._ticks.values())

    asyncio.run(second())
    assert (partition(judge, QUICK).ticks, partition(judge, STUCK).ticks) == (1, 0)
    assert judge.app.sights is not None
    assert judge.app.sights().keys() == {QUICK}

"""Whatever goes wrong between two effects, what must hold holds: 2,000 runs here, 200,000 in the slow suite."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.invariants import Violation
from tests.simulation.seams import simulated
from tests.simulation.world import World, line_of, run

AT_ONCE = 200


@pytest.fixture(autouse=True)
def _on_the_fake_broker() -> Iterator[None]:
    with simulated():
        yield


def failing(first: int, count: int) -> list[str]:
    """A line for each seed that breaks something: what to run to see it again."""
    lines = []
    for seed in range(first, first + count):
        try:
            run(seed)
        except Violation as why:
            lines.append(line_of(seed, why))
    return lines


@pytest.mark.parametrize("first", range(0, 2_000, AT_ONCE))
def test_nothing_is_lost_or_doubled_or_raised_in_2_000_runs(first: int) -> None:
    assert not failing(first, AT_ONCE)


@pytest.mark.parametrize("seed", [5_486])
def test_nothing_goes_wrong_where_it_once_did(seed: int) -> None:
    assert not failing(seed, 1)


@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_nothing_is_lost_or_doubled_or_raised_in_200_000_runs() -> None:
    assert not list(failing_anywhere(2_000, 200_000))


def failing_anywhere(first: int, count: int) -> Iterator[str]:
    """The same, by a process for each core."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for lines in pool.map(failing_alone, range(first, first + count, AT_ONCE)):
            yield from lines


def failing_alone(first: int) -> list[str]:
    with simulated():
        return failing(first, AT_ONCE)


def test_a_run_that_fails_is_one_line_that_says_how_to_see_it_again() -> None:
    with BUGS["says_everything_again"]():
        lines = failing(0, 4)
    assert lines
    assert all(re.fullmatch(r"python -m tests\.simulation \d+  # .+", line) for line in lines)


def test_a_seed_is_a_run() -> None:
    assert what_happened(7) == what_happened(7)
    assert what_happened(7) != what_happened(8)


def what_happened(seed: int) -> list[tuple[str, int, int, bytes | None]]:
    """Every record of every topic, but for what names this process: the owner of ticks."""
    world = World(seed)
    world.run()
    return [
        (topic.name, log.partition, record.timestamp_ms, record.value)
        for topic in world.broker.topics.values()
        for log in topic.logs
        for record in log.records
    ]


def test_the_runs_are_no_idle_ones() -> None:
    """Workers die and are fenced, commands are issued, evidence comes in, and harm is answered."""
    worlds = [World(seed) for seed in range(40)]
    for world in worlds:
        world.run()
    told = [one for world in worlds for one in world.witness.told.values()]
    assert sum(len(one.issued) for one in told) > len(worlds)
    assert sum(len(one.counted) for one in told) > 5 * len(worlds)
    assert sum(one.expected.lifecycle == "stopped" for one in told) > len(worlds) / 10
    assert sum(world.deaths for world in worlds) > len(worlds)
    assert sum(world.fenced for world in worlds) > 0

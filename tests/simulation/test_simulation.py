"""Whatever goes wrong between two effects, what must hold holds: 2,000 runs here, 200,000 in the slow suite."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from streams.partition_judge import PartitionJudge
from tests.simulation.bugs import BUGS
from tests.simulation.fates import Fates
from tests.simulation.invariants import Violation
from tests.simulation.roles import QUICK, TOPICS
from tests.simulation.seams import simulated
from tests.simulation.services import Fate
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


@pytest.mark.parametrize("part", ["tick", "judge"])
def test_what_ends_a_worker_unexpectedly_fails_the_seed(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """In a timer of its own, or in an agent: both run in tasks that nobody waits for."""

    def stumbles(*_: object) -> None:
        raise ZeroDivisionError(part)

    monkeypatch.setattr(PartitionJudge, part, stumbles)
    assert "ended by ZeroDivisionError" in failing(0, 1)[0]


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


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    """Of forty runs, a quarter of which have outcomes."""
    with simulated():
        worlds = [World(seed) for seed in range(40)]
        for world in worlds:
            world.run()
    return worlds


def test_the_runs_are_no_idle_ones(worlds: list[World]) -> None:
    """Workers die and are fenced, commands are issued, evidence comes in, and harm is answered."""
    told = [one for world in worlds for one in world.witness.told.values()]
    assert sum(len(one.issued) for one in told) > len(worlds)
    assert sum(len(one.counted) for one in told) > 5 * len(worlds)
    assert sum(one.expected.lifecycle == "stopped" for one in told) > len(worlds) / 10
    assert sum(world.deaths for world in worlds) > len(worlds)
    assert sum(world.fenced for world in worlds) > 0


def test_every_fate_of_a_record_is_met(worlds: list[World]) -> None:
    """Traces are counted, refused, stored and ignored; bare outcomes are given back, with context or without."""
    fates = Counter(one.fate for world in worlds for one in world.services.sent.values())
    given_back = Counter(fate for world in worlds for fate in fates_of_bare(world))
    waited = {stage.topic for stage in QUICK for world in worlds if ends(world, stage.topic)}
    assert set(fates) == set(Fate)
    assert set(given_back) >= {Fate.COUNTED, Fate.REFUSED}
    assert waited == {stage.topic for stage in QUICK}


def fates_of_bare(world: World) -> list[Fate]:
    sent = Fates(world).sent
    return [sent[place].fate for place in sent.keys() - world.services.sent.keys()]


def ends(world: World, topic: str) -> int:
    """Records that have come to stand on a topic."""
    return sum(log.end for log in world.broker.topics[TOPICS(topic)].logs)

"""A resolver that takes a partition over asks for the place behind the fence: until then its former owner may move it.

A seed seldom meets the moment between the two, which is one call long; here the former owner gets its turn just there.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faust.types import TP

from stoploss.errors import Fenced
from streams.looking_up import Waypoint
from streams.transactions import Outgoing
from tests.simulation import now
from tests.simulation.bugs.planting import replaced
from tests.simulation.processes import Process
from tests.simulation.roles import SETTINGS, TOPICS
from tests.simulation.seams import simulated
from tests.simulation.world import World

SOURCE = TP(TOPICS("outcomes"), 0)
ANSWER = [Outgoing(TOPICS("outcomes_resolved"), b"t1", b"an outcome with its context")]


@pytest.fixture
def world() -> Iterator[World]:
    world = World(0)
    now.enter(world)
    world.stack.append((Process(world, "resolver", 0), None))
    with simulated():
        yield world
    now.leave()


def opened_while_the_former_owner_commits(world: World, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """Where the new owner begins; the former one has answered everything before 7."""
    former, successor = (Waypoint(SETTINGS, SOURCE, None) for _ in range(2))
    former.open()

    def effect(process: Process, what: str) -> None:
        if what == "init_transactions":
            monkeypatch.undo()
            former._transactor.publish_up_to(ANSWER, 7)

    monkeypatch.setattr(world, "effect", effect)
    place = successor.open()
    with pytest.raises(Fenced):
        former._transactor.publish_up_to(ANSWER, 9)
    return place


def test_what_a_former_owner_commits_up_to_the_fence_is_not_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened_while_the_former_owner_commits(world, monkeypatch) == 7


def test_who_reads_its_place_before_it_fences_would_send_all_of_it_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def early(self: Waypoint) -> int | None:
        place = self._transactor.place("")
        self._transactor.open()
        return place

    with replaced(Waypoint, "open", early):
        assert opened_while_the_former_owner_commits(world, monkeypatch) is None

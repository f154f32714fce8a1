"""A topic that is deleted and made again: what comes under its new UUID is counted, all of it once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.bugs.planting import replaced
from tests.simulation.invariants import Violation
from tests.simulation.made_again import CommittedLate, MadeAgain
from tests.simulation.processes import GroupConsumer
from tests.simulation.seams import simulated

SEEDS = range(40)


@pytest.fixture(autouse=True)
def _on_the_fake_broker() -> Iterator[None]:
    with simulated():
        yield


def run_all(kind: type[MadeAgain] = MadeAgain) -> int:
    """How many traces came under another UUID; raises Violation."""
    came = 0
    for seed in SEEDS:
        world = kind(seed)
        world.run()
        came += world.place is not None
    return came


def test_what_comes_under_the_new_uuid_is_counted() -> None:
    assert run_all() > len(SEEDS) / 3


def test_a_commit_of_the_log_before_does_not_count_for_the_new_one() -> None:
    assert run_all(CommittedLate) > len(SEEDS) / 3


def test_who_reads_on_as_if_nothing_had_happened_is_found() -> None:
    with (
        replaced(GroupConsumer, "_went_back", lambda *_: False),
        pytest.raises(Violation, match=r"never counted|repeats"),
    ):
        run_all()

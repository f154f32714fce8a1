"""The simulation finds bugs: each of those in bugs.py, within so many seeds, and none without them."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.invariants import Violation
from tests.simulation.seams import simulated
from tests.simulation.world import run

MOST_SEEDS = 500


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    with simulated(), BUGS[bug]():
        assert finds(MOST_SEEDS), f"{bug}: nothing found in {MOST_SEEDS} seeds"


def finds(seeds: int) -> bool:
    for seed in range(seeds):
        try:
            run(seed)
        except Violation:
            return True
    return False

"""The simulation finds bugs: each of those in bugs/, within so many seeds, and none without them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.simulation.bugs import BUGS, resolver
from tests.simulation.invariants import Violation
from tests.simulation.made_again import CommittedLate
from tests.simulation.scenario import Scenario
from tests.simulation.seams import simulated
from tests.simulation.world import World, run

MOST_SEEDS = 500
FIRST = {"asks_nobody_whether_it_owns": 280}
"""Where no seed before finds it: a frozen worker has to come back between two effects of the one in its place."""
WORLDS = {"commits_without_the_name_of_its_log": CommittedLate}
"""Where chance brings about once in twenty thousand seeds what it takes."""
ROOT = Path(__file__).parents[2]
TEST = re.compile(r"^def (test_\w+)", re.MULTILINE)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    with simulated(), BUGS[bug]():
        assert finds(seeds_for(bug), WORLDS.get(bug, World)), f"{bug}: nothing found in {MOST_SEEDS} seeds"


def seeds_for(bug: str) -> list[int]:
    """The resolver does nothing in a run without outcomes."""
    of_outcomes = BUGS[bug] in resolver.BUGS
    first = FIRST.get(bug, 0)
    return [
        seed
        for seed in range(first, first + MOST_SEEDS)
        if not of_outcomes or Scenario.of(random.Random(seed)).outcomes
    ]


def finds(seeds: Iterable[int], kind: type[World] = World) -> bool:
    for seed in seeds:
        try:
            run(seed, kind)
        except Violation:
            return True
    return False


def test_what_the_documents_say_is_found_is_planted_or_tried_on_the_real_parts() -> None:
    table = (
        (ROOT / "docs" / "delivery.md")
        .read_text()
        .partition("## What would go wrong otherwise")[2]
        .partition("\n## ")[0]
    )
    named = set(re.findall(r"`(\w+)`", table))
    tried = {name for path in (ROOT / "tests" / "streams").glob("test_*.py") for name in TEST.findall(path.read_text())}
    assert named - BUGS.keys() - tried == set()
    assert len(named & BUGS.keys()) > 20
    assert named & tried

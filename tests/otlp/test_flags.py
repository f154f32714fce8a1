"""Which experiment a flag's evaluation is an assignment to, and what the alias table says of names."""

from __future__ import annotations

import pytest

from stoploss.lifecycle import Lifecycle
from stoploss.otlp.aliases import ALIASES
from stoploss.otlp.flags import flags_of
from stoploss.registry import RegistryEntry
from tests.timelines import SPEC


def entry(name: str, lifecycle: str, *, changed_at: int = 1, flag: str = "model") -> RegistryEntry:
    return RegistryEntry(
        experiment=name,
        partition=0,
        spec=SPEC.replace("flag: checkout", f"flag: {flag}"),
        spec_hash="h",
        lifecycle=lifecycle,
        run=1,
        epoch=1,
        sequence=1,
        release_variant="current",
        exposure=0.5,
        stopped_segments=(),
        command_id=None,
        changed_at=changed_at,
        offset=1,
    )


def test_each_flag_serves_the_experiments_that_name_it() -> None:
    found = flags_of([entry("a", "running"), entry("b", "paused"), entry("c", "running", flag="other")])
    assert found == {"model": ["a", "b"], "other": ["c"]}


@pytest.mark.parametrize("over", ["stopped", "rolled_back", "completed", "reviewed"])
def test_what_is_over_hears_of_a_flag_only_until_another_uses_it(over: str) -> None:
    """A trace after the stop is an exposure after the stop, as long as the flag is still that experiment's."""
    assert flags_of([entry("old", over), entry("older", over, changed_at=0)]) == {"model": ["old"]}
    assert flags_of([entry("old", over), entry("next", "registered", changed_at=9)]) == {"model": ["old"]}
    assert flags_of([entry("old", over), entry("next", "running")]) == {"model": ["next"]}


@pytest.mark.parametrize("state", list(Lifecycle))
def test_in_every_state_a_flag_of_one_experiment_serves_it(state: Lifecycle) -> None:
    assert flags_of([entry("only", state.value)]) == {"model": ["only"]}


def test_every_name_stands_for_one_field() -> None:
    names = [name for row in ALIASES.values() for name in row]
    assert len(names) == len(set(names))

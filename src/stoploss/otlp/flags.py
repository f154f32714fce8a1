"""Which experiments a flag serves, as the registry has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from stoploss.lifecycle import LATCHED, WAITING
from stoploss.registry import RegistryEntry
from stoploss.spec.file import parse_experiment

_OVER = frozenset(state.value for state in LATCHED)
_BEFORE = frozenset(state.value for state in WAITING)


def flags_of(entries: Iterable[RegistryEntry]) -> Mapping[str, Sequence[str]]:
    """Flag key -> experiments: those that run or may go on; else the one that changed last.

    A flag outlives its experiments: what is over hears of a flag's evaluations only until another uses the flag, and
    what has not begun only where nobody else does.
    """
    by_flag: dict[str, list[RegistryEntry]] = {}
    for entry in entries:
        by_flag.setdefault(flag_of(entry.spec), []).append(entry)
    return {flag: _served(sharing) for flag, sharing in by_flag.items()}


def _served(sharing: Sequence[RegistryEntry]) -> list[str]:
    going_on = [entry.experiment for entry in sharing if entry.lifecycle not in _OVER | _BEFORE]
    if going_on:
        return sorted(going_on)
    over = [entry for entry in sharing if entry.lifecycle in _OVER]
    return [max(over or sharing, key=lambda entry: (entry.changed_at, entry.experiment)).experiment]


@lru_cache(maxsize=1_024)
def flag_of(spec: str) -> str:
    """The flag that a spec names; raises InvalidExperiment where this version cannot read the spec."""
    return parse_experiment(spec, "a spec of the registry").spec.assignment.flag

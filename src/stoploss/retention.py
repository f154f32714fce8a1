"""How long what is stored of people stays: as each experiment's spec says, and longer while an incident is open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stoploss.errors import InvalidExperiment
from stoploss.experiment import Privacy
from stoploss.registry import RegistryEntry
from stoploss.spec.file import parse_experiment

USUAL_S = int(Privacy().retention)
"""Seconds that traces and outcomes stay where no spec says otherwise."""
LEAST_S = 3_600
"""Seconds that a topic keeps a record at least: a shorter time would delete what nobody has read yet."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One experiment. seconds: that its traces stay; held: an open incident suspends their deletion."""

    experiment: str
    seconds: int
    held: bool


def kept(entries: Iterable[RegistryEntry]) -> list[Kept]:
    """By name. An experiment whose spec this version cannot read is kept as usual."""
    found = [Kept(entry.experiment, _seconds(entry), bool(entry.open_incidents)) for entry in entries]
    return sorted(found, key=lambda one: one.experiment)


def _seconds(entry: RegistryEntry) -> int:
    try:
        return int(parse_experiment(entry.spec, f"the spec of {entry.experiment!r}").spec.privacy.retention)
    except InvalidExperiment:
        return USUAL_S


def shortest_s(experiments: Iterable[Kept], usual_s: int) -> int:
    """Seconds that what is stored of all experiments together stays: no longer than any one of them allows.

    >>> shortest_s([Kept("a", 86_400, held=True)], 604_800), shortest_s([Kept("a", 60, held=False)], 604_800)
    (86400, 3600)
    """
    return max(LEAST_S, min([usual_s, *(one.seconds for one in experiments)]))

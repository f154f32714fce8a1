"""Past experiments that resemble a new one, and how each ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stoploss.experiment import Experiment
from stoploss.knowledge.past import Past, Traits, traits_of

MOST_SIMILAR = 5
LEAST = 0.25
WEIGHTS = {"unit": 1, "changed": 1, "model": 3, "prompt": 3, "tool": 2, "segment": 1, "metric": 1, "words": 2}
"""What makes two experiments alike. Models and prompts weigh most: a failure is most often theirs."""


@dataclass(frozen=True, slots=True)
class Similar:
    """likeness is 0 to 1; shared says in what, by kind."""

    experiment: str
    likeness: float
    shared: tuple[str, ...]
    ended: str


def similar(spec: Experiment, pasts: Iterable[Past]) -> list[Similar]:
    """Up to five, the most alike first; an earlier registration of the same name is the first to be told."""
    traits = traits_of(spec)
    scored = [_scored(spec.name, traits, past) for past in pasts]
    alike = sorted((one for one in scored if one.likeness >= LEAST), key=lambda one: (-one.likeness, one.experiment))
    return alike[:MOST_SIMILAR]


def _scored(name: str, traits: Traits, past: Past) -> Similar:
    same = past.experiment == name
    value = 1.0 if same else likeness(traits, past.traits)
    shared = ("the name",) if same else tuple(_shared(traits, past.traits))
    return Similar(past.experiment, value, shared, past.ended)


def likeness(one: Traits, other: Traits) -> float:
    """Share of what either has that both have, weighed by kind; what neither has says nothing.

    >>> new = {"model": frozenset({"small-1"}), "unit": frozenset({"model"})}
    >>> likeness(new, {"model": frozenset({"small-1", "big-1"}), "unit": frozenset({"model"})})
    0.625
    """
    parts = []
    for kind, weight in WEIGHTS.items():
        mine, theirs = one.get(kind, frozenset()), other.get(kind, frozenset())
        if mine or theirs:
            parts.append((weight, len(mine & theirs) / len(mine | theirs)))
    whole = sum(weight for weight, _ in parts)
    return sum(weight * share for weight, share in parts) / whole if whole else 0.0


def _shared(one: Traits, other: Traits) -> Iterable[str]:
    for kind in WEIGHTS:
        both = one.get(kind, frozenset()) & other.get(kind, frozenset())
        if both and kind not in ("words", "changed"):
            yield f"{kind} {', '.join(sorted(both))}"

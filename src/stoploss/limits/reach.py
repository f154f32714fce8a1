"""What traffic an experiment may reach, and whether two of them may meet in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoploss.experiment import Experiment

SURFACE, TENANT = "surface", "tenant"
Values = frozenset[str] | None
"""Of a dimension; None: all that there are."""


@dataclass(frozen=True, slots=True)
class Reach:
    """surfaces is never all: where none is declared, it is the flag."""

    surfaces: frozenset[str]
    tenants: Values
    users: Mapping[str, Values]

    @classmethod
    def of(cls, experiment: Experiment) -> Reach:
        traffic, flag = experiment.spec.traffic, experiment.spec.assignment.flag
        if traffic is None:
            return cls(frozenset({flag}), None, {})
        users = {dimension: frozenset(values) for dimension, values in traffic.users.items()}
        return cls(frozenset(traffic.surfaces or (flag,)), _values(traffic.tenants), users)

    def of_dimension(self, dimension: str) -> Values:
        match dimension:
            case "surface":
                return self.surfaces
            case "tenant":
                return self.tenants
            case _:
                return self.users.get(dimension)


def shared(one: Reach, other: Reach) -> str | None:
    """The traffic that both may reach, in words; None where they can never meet."""
    dimensions = (SURFACE, TENANT, *dict.fromkeys((*one.users, *other.users)))
    found = []
    for dimension in dimensions:
        here, there = one.of_dimension(dimension), other.of_dimension(dimension)
        both = _both(here, there)
        if both is not None and not both:
            return None
        if both is not None:
            found.append(f"{dimension} {', '.join(sorted(both))}")
    return " and ".join(found)


def _both(one: Values, other: Values) -> Values:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _values(values: tuple[str, ...] | None) -> Values:
    return None if values is None else frozenset(values)

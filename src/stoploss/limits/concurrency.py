"""Whether an experiment may run beside those that run already: exclusion groups, overlaps, and how many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from stoploss.experiment import Experiment
from stoploss.limits.reach import SURFACE, TENANT, Reach, shared
from stoploss.policy.model import Concurrency, Policy

OTHERS = "any other"
"""Stands for the values that no spec names: who reaches all reaches them, too."""


def objection(
    wanted: Experiment, running: Sequence[Experiment], policy: Policy | None, adopted: Sequence[Experiment] = ()
) -> str | None:
    """Why an experiment may not begin a run beside others, in a sentence that names them; None where it may.

    running  all that run, or are about to; the wanted one does not count
    adopted  those that were rolled out and are still served by their flags
    """
    others = [other for other in running if other.name != wanted.name]
    kept = [other for other in adopted if other.name != wanted.name]
    return next(chain(_taken(wanted, kept), _objections(wanted, others, policy)), None)


def _taken(wanted: Experiment, adopted: Sequence[Experiment]) -> Iterator[str]:
    """A flag serves one treatment: a start would take the adopted one from its users, and a stop would give it back."""
    for other in adopted:
        flag = other.spec.assignment.flag
        if flag == wanted.spec.assignment.flag and not _declared(wanted, other):
            yield (
                f"the flag {flag!r} serves the treatment of {other.name}, which was rolled out; take another flag, "
                f"stop {other.name} first, or declare it: overlaps: [{other.name}]"
            )


def _declared(wanted: Experiment, other: Experiment) -> bool:
    return other.name in wanted.spec.overlaps or wanted.name in other.spec.overlaps


def _objections(wanted: Experiment, others: Sequence[Experiment], policy: Policy | None) -> Iterator[str]:
    for other in others:
        yield from _excluded(wanted, other)
    for other in others:
        yield from _overlap(wanted, other)
    if policy is not None:
        yield from _too_many(wanted, others, policy.spec.concurrency)


def _excluded(wanted: Experiment, other: Experiment) -> Iterator[str]:
    groups = [group for group in wanted.metadata.exclusive if group in other.metadata.exclusive]
    if groups:
        yield f"{other.name} runs, and both are in the exclusive group {groups[0]!r}; end it first"


def _overlap(wanted: Experiment, other: Experiment) -> Iterator[str]:
    if _declared(wanted, other):
        return
    if where := shared(Reach.of(wanted), Reach.of(other)):
        yield (
            f"{other.name} runs on the same traffic ({where}); end it first, keep them apart with `traffic`, or "
            f"declare it: overlaps: [{other.name}]"
        )


def _too_many(wanted: Experiment, others: Sequence[Experiment], limits: Concurrency) -> Iterator[str]:
    team = wanted.metadata.owner
    ours = [other for other in others if other.metadata.owner == team]
    yield from _full("", others, limits.total)
    yield from _full(f" of team {team!r}", ours, limits.per_team)
    yield from _crowded(SURFACE, wanted, others, limits.per_surface)
    yield from _crowded(TENANT, wanted, others, limits.per_tenant)
    users = dict.fromkeys(name for one in (wanted, *others) for name in Reach.of(one).users)
    for dimension in users or ("user",):
        yield from _crowded(dimension, wanted, others, limits.per_segment)


def _crowded(dimension: str, wanted: Experiment, others: Sequence[Experiment], limit: int | None) -> Iterator[str]:
    """Of each value that the wanted one reaches: the others that reach it, too."""
    if limit is None:
        return
    reached = [(other, Reach.of(other).of_dimension(dimension)) for other in others]
    mine = Reach.of(wanted).of_dimension(dimension)
    if mine is None:
        named = {value for _, values in reached for value in values or ()}
        mine = frozenset({*named, OTHERS})
    for value in sorted(mine):
        there = [other for other, values in reached if values is None or value in values]
        yield from _full(f" on {dimension} {value}", there, limit)


def _full(where: str, others: Sequence[Experiment], limit: int | None) -> Iterator[str]:
    if limit is None or len(others) < limit:
        return
    names = ", ".join(sorted(other.name for other in others))
    yield f"the policy allows {limit} at once{where}, and these run: {names}; end one of them first"

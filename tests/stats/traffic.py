"""Seeded traffic for the error rates of the contrast: many experiments at once, one per cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stoploss.stats.contrast import ArmTotals, ClosedEpochs, Contrast, EpochTotals, Margin, close_epoch, contrasts
from stoploss.stats.floors import continuous_floors, first_unmet
from stoploss.units import occurrence_rank

GROUPS = 256
MICRO = 1_000_000


@dataclass(frozen=True)
class Look:
    """What stands at one look, per experiment: the closed epochs, the open one, and units seen (experiments, 2)."""

    closed: ClosedEpochs
    epoch: EpochTotals
    units: np.ndarray


def totals(experiments: int, experiment: np.ndarray, arm: np.ndarray, group: np.ndarray, x: np.ndarray) -> np.ndarray:
    """n and sum of x as int64, (2 arms, 2, experiments, groups)."""
    key = ((arm * experiments + experiment) * GROUPS + group).ravel()
    size = 2 * experiments * GROUPS
    n = np.bincount(key, minlength=size)
    sum_x = np.bincount(key, np.rint(x * MICRO).ravel(), minlength=size)
    return np.stack([n, sum_x]).astype(np.int64).reshape(2, 2, experiments, GROUPS).swapaxes(0, 1)


def epoch_of(stacked: np.ndarray) -> EpochTotals:
    return EpochTotals(*(ArmTotals(stacked[a, 0], stacked[a, 1]) for a in (0, 1)))


def sessions(seed: int, experiments: int, looks: int, *, share: float, harm: float = 0.0) -> Iterator[Look]:
    """Units that come once with ten traces, intra-unit correlation 0.3; a look every 50 units."""
    rng = np.random.default_rng(seed)
    shape = (experiments, 50, 1)
    running, units = np.zeros((2, 2, experiments, GROUPS), np.int64), np.zeros((experiments, 2), np.int64)
    for _ in range(looks):
        arm, group = (rng.random(shape) < share).astype(np.int64), rng.integers(0, GROUPS, shape)
        x = 3 + harm * arm + rng.normal(0, 0.3**0.5, shape) + rng.normal(0, 0.7**0.5, (experiments, 50, 10))
        each = np.broadcast_to(np.arange(experiments)[:, np.newaxis, np.newaxis], x.shape)
        running += totals(experiments, each, np.broadcast_to(arm, x.shape), np.broadcast_to(group, x.shape), x)
        units += np.stack([50 - arm.sum((1, 2)), arm.sum((1, 2))], axis=1)
        yield Look(ClosedEpochs.none(experiments, GROUPS), epoch_of(running), units.copy())


def ramp_of_returning_users(seed: int, experiments: int, looks_per_stage: int) -> Iterator[Look]:
    """2,000 users who return at random and move to treatment as the ramp grows; all drift up by 0.2 sigma a stage."""
    rng, users = np.random.default_rng(seed), 2_000
    trait = rng.normal(0, 0.3**0.5, (experiments, users))
    rank, group = rng.random((experiments, users)), rng.integers(0, GROUPS, (experiments, users))
    each = np.broadcast_to(np.arange(experiments)[:, np.newaxis], (experiments, 500))
    seen = np.zeros((2, experiments, users), bool)
    closed = ClosedEpochs.none(experiments, GROUPS)
    for stage, exposure in enumerate((0.01, 0.05, 0.10, 0.25, 0.50)):
        running = np.zeros((2, 2, experiments, GROUPS), np.int64)
        for _ in range(looks_per_stage):
            user = rng.integers(0, users, each.shape)
            arm = (rank[each, user] < exposure).astype(np.int64)
            x = 3 + 0.2 * stage + trait[each, user] + rng.normal(0, 0.7**0.5, each.shape)
            running += totals(experiments, each, arm, group[each, user], x)
            seen[arm, each, user] = True
            yield Look(closed, epoch_of(running), seen.sum(2).T)
        closed = close_epoch(closed, epoch_of(running), Margin())


def alarms(looks: Iterator[Look], alpha: float, *evidences: Callable[[Contrast], float]) -> list[int]:
    """How many experiments have ever alarmed by each evidence, floors kept."""
    fired: list[set[int]] = [set() for _ in evidences]
    for look in looks:
        found = contrasts(look.closed, look.epoch, margin=Margin(), alphas=[alpha] * len(look.units), tstar=5000)
        for experiment, contrast in enumerate(found):
            if not isinstance(contrast, Contrast):
                continue
            speaking = [by for by, evidence in enumerate(evidences) if evidence(contrast) >= contrast.limit]
            if not speaking:
                continue
            control, treatment = look.units[experiment].tolist()
            floors = continuous_floors(
                n_eff=contrast.n_eff, units_control=control, units_treatment=treatment, alpha=alpha
            )
            if first_unmet(floors) is None:
                for by in speaking:
                    fired[by].add(experiment)
    return [len(experiments) for experiments in fired]


def heavy_users(seed: int, experiments: int, looks: int, *, cap_per_day: int | None) -> Iterator[Look]:
    """50,000 users at 99/1 whose activity falls as 1/rank and goes with the outcome (.5); a look every 4,000 traces.

    Capped, no more than cap_per_day traces of a user count between two resets, ten looks apart.
    """
    rng, users, rows = np.random.default_rng(seed), 50_000, 4_000
    activity = np.log(users / np.arange(1, users + 1))
    shape = (experiments, users)
    trait = 0.3**0.5 * (0.5 * (activity - 1) + 0.75**0.5 * rng.standard_normal(shape, np.float32)).astype(np.float32)
    arm, group = (rng.random(shape, np.float32) < 0.01).astype(np.uint8), rng.integers(0, GROUPS, shape, np.uint16)
    seen, counted = np.zeros(shape, bool), np.zeros(shape, np.int32)
    each = np.broadcast_to(np.arange(experiments)[:, np.newaxis], (experiments, rows))
    running = np.zeros((2, 2, experiments, GROUPS), np.int64)
    for look in range(looks):
        user = np.exp(rng.random(each.shape) * np.log(users)).astype(np.int64) - 1
        x = 3 + trait[each, user] + rng.normal(0, 0.7**0.5, each.shape)
        keep = np.ones(each.shape, bool)
        if cap_per_day is not None:
            if look % 10 == 0:
                counted[:] = 0
            rank = occurrence_rank((each * users + user).ravel()).reshape(each.shape)
            keep = counted[each, user] + rank < cap_per_day
            np.add.at(counted, (each, user), 1)
        seen[each, user] = True
        mine = each[keep], user[keep]
        running += totals(experiments, mine[0], arm[mine].astype(np.int64), group[mine].astype(np.int64), x[keep])
        units = np.stack([(seen & (arm == a)).sum(1) for a in (0, 1)], axis=1)
        yield Look(ClosedEpochs.none(experiments, GROUPS), epoch_of(running), units)

"""What one hot experiment's evidence would be if several judges folded it: docs/scaling.md, "One hot experiment".

A shard takes the units of some last bits of their hash, of all sources. What is kept by unit or by group of units is
then in one shard alone, and what is a sum, a count or a set of slots is merged exactly: the merged state is that of one
judge, bit for bit, in whatever order the shards come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

import numpy as np
import numpy.typing as npt
import pytest

from stoploss.rules.group_totals import GROUPS_OF_A_SEGMENT, GroupTotals
from stoploss.rules.rows import Rows
from stoploss.running import Grid, Sums
from stoploss.segments import EVERYBODY, Dimension
from stoploss.stats import exact_sums
from stoploss.stats.contrast import Contrast, Margin
from stoploss.units import ArmSample, DailyCap, DistinctUnits, SeenUnits

CELLS, BLOCKS, BLOCK_ROWS = 6, 12, 2_000
TENANTS = Dimension("tenant", {f"tenant-{number}": number for number in range(CELLS)})
ROOM = {EVERYBODY: 1, "tenant": CELLS}
SHARDS = (1, 2, 3, 8)
MARGIN = Margin(relative=0.1)
NO_MORE = exact_sums.SquareParts((), (), ())
"""Added to limbs, it carries what is more than a digit."""


def traffic(seed: int) -> Rows:
    """Rows of 20,000 units, some of them heavy, in both arms; values up to the largest that intake lets through."""
    rng = np.random.default_rng(seed)
    n = BLOCK_ROWS
    units = np.random.default_rng(7).integers(0, 2**64, 20_000, dtype=np.uint64)
    every, zeros = np.ones(n, np.bool_), np.zeros(n, np.int64)
    return Rows(
        arm=rng.integers(0, 2, n),
        unit=units[(units.size * rng.random(n) ** 3).astype(np.int64)],
        at=zeros,
        start=zeros,
        exposure=True,
        compared=every,
        first=every,
        capped=every,
        cells={"tenant": rng.integers(0, CELLS, n), EVERYBODY: zeros},
        metrics={"x": rng.integers(-(2**40) + 1, 2**40, n), "error": rng.integers(0, 2, n)},
        gates=zeros,
        details={},
    )


def of_shard(rows: Rows, shard: int, shards: int) -> Rows:
    """The rows whose units are the shard's, in their order."""
    mine = rows.unit % np.uint64(GROUPS_OF_A_SEGMENT) % np.uint64(shards) == shard
    return _only(rows, mine)


class Judged:
    """What of the judge's state is additive, in the order in which the judge folds a block."""

    def __init__(self) -> None:
        self.seen, self.cap, self.sample = SeenUnits(), DailyCap(), ArmSample()
        self.sums = Sums.none(ROOM, quantiles=True)
        self.totals = {"": GroupTotals.none(""), "tenant": GroupTotals.none("tenant")}

    def fold(self, rows: Rows) -> None:
        rows = replace(rows, first=self.seen.first(rows.unit), capped=self.cap.admit(rows.unit), prepared={})
        self.sample.add(rows.arm, rows.unit)
        self.sums.fold(Grid(rows.arm, {name: rows.cells[name] for name in ROOM}), rows.metrics["x"])
        for name, totals in self.totals.items():
            totals.make_room(CELLS if name else 1)
            totals.fold(rows, TENANTS if name else Dimension(EVERYBODY, {EVERYBODY: 0}), "error", events=True)


def folded(blocks: Iterable[Rows]) -> Judged:
    judged = Judged()
    for rows in blocks:
        judged.fold(rows)
    return judged


def merged(one: Judged, other: Judged) -> Judged:
    """Sums are added, sets are united; the sample is the one of all units."""
    both = Judged()
    both.seen = SeenUnits(one.seen.seen | other.seen.seen)
    both.cap = DailyCap(one.cap.counts + other.cap.counts)
    both.sample = _sample(one.sample, other.sample)
    both.sums = Sums(
        ROOM,
        True,
        one.sums.n + other.sums.n,
        one.sums.total + other.sums.total,
        exact_sums.add_parts(one.sums.squares + other.sums.squares, NO_MORE, np.asarray),
        one.sums.buckets + other.sums.buckets,
    )
    both.totals = {name: _totals(one.totals[name], other.totals[name]) for name in one.totals}
    return both


def _totals(one: GroupTotals, other: GroupTotals) -> GroupTotals:
    added = {name: getattr(one, name) + getattr(other, name) for name in ("n", "total", "shown_n", "shown_total")}
    united = {
        name: DistinctUnits(getattr(one, name).taken | getattr(other, name).taken) for name in ("units", "events")
    }
    return replace(one, **added, **united)


def _sample(one: ArmSample, other: ArmSample) -> ArmSample:
    both = ArmSample({}, {}, max(one.halvings, other.halvings))
    below = 1 << (64 - both.halvings)
    for sample in (one, other):
        both.arm_of |= {key: arm for key, arm in sample.arm_of.items() if key < below}
        both.changed |= {key: True for key in sample.changed if key < below}
    both.add(np.zeros(0, np.int64), np.zeros(0, np.uint64))
    return both


def state_of(judged: Judged) -> dict[str, object]:
    """All of it, to be compared bit for bit."""
    arrays = {"seen": judged.seen.seen, "cap": judged.cap.counts}
    arrays |= {f"sums.{name}": getattr(judged.sums, name) for name in ("n", "total", "squares", "buckets")}
    for name, totals in judged.totals.items():
        arrays |= {f"{name}.{part}": getattr(totals, part) for part in ("n", "total", "shown_n", "shown_total")}
        arrays |= {f"{name}.{part}": getattr(totals, part).taken for part in ("units", "events")}
    sample = judged.sample
    told = {"halvings": sample.halvings, "arm_of": sample.arm_of, "changed": sample.changed}
    return {name: (array.shape, array.dtype.str, array.tobytes()) for name, array in arrays.items()} | told


@pytest.fixture(scope="module")
def blocks() -> list[Rows]:
    return [traffic(seed) for seed in range(BLOCKS)]


def shards_of(blocks: list[Rows], shards: int) -> list[Judged]:
    return [folded(of_shard(rows, shard, shards) for rows in blocks) for shard in range(shards)]


@pytest.mark.parametrize("shards", SHARDS)
def test_shards_of_units_merge_to_the_state_of_one_judge(blocks: list[Rows], shards: int) -> None:
    assert state_of(reduce(merged, shards_of(blocks, shards))) == state_of(folded(blocks))


def test_shards_may_be_merged_in_any_order(blocks: list[Rows]) -> None:
    first, second, third = shards_of(blocks, 3)
    assert state_of(merged(merged(third, first), second)) == state_of(merged(first, merged(second, third)))


def test_merged_totals_give_the_very_contrast_of_one_judge(blocks: list[Rows]) -> None:
    """Floats appear only when a verdict is computed, from integers that are equal."""
    alphas = [0.05] * CELLS
    alone, many = folded(blocks), reduce(merged, shards_of(blocks, 8))
    said = [list(judged.totals["tenant"].contrasts(MARGIN, alphas, 1_000.0)) for judged in (alone, many)]
    assert said[0] == said[1]
    assert all(isinstance(contrast, Contrast) for contrast in said[0])


@pytest.mark.parametrize("every_other", [True, False])
def test_shards_of_rows_would_not_do(blocks: list[Rows], every_other: bool) -> None:
    """A unit's rows in two shards are counted against two caps: which is why shards are of units."""
    place = np.arange(BLOCK_ROWS)
    half = place % 2 == 0 if every_other else place < BLOCK_ROWS // 2
    parts = [folded(_only(rows, mine) for rows in blocks) for mine in (half, ~half)]
    assert state_of(merged(*parts))["tenant.n"] != state_of(folded(blocks))["tenant.n"]


def _only(rows: Rows, mine: npt.NDArray[np.bool_]) -> Rows:
    return replace(
        rows,
        **{name: getattr(rows, name)[mine] for name in ("arm", "unit", "at", "start", "compared", "first", "capped")},
        cells={name: cell[mine] for name, cell in rows.cells.items()},
        metrics={name: x[mine] for name, x in rows.metrics.items()},
        prepared={},
    )

"""P2: what is withheld of a table of segments cannot be computed from what is shown of it."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from stoploss import suppression
from stoploss.commands import Segment
from stoploss.experiment import OTHER
from stoploss.suppression import wholes, withheld

MINIMUM = 20
ARMS = 2
Rows = dict[Segment | None, tuple[int, ...]]


def test_the_examples_hold() -> None:
    assert doctest.testmod(suppression).failed == 0


def table(seed: int, *, margins: bool, tenants: int = 5, languages: int = 4) -> Rows:
    """Rows of crosses of two dimensions, many of them few or none, and the sums over them."""
    rng = np.random.default_rng(seed)
    counts = np.where(rng.random((tenants, languages, 1)) < 0.3, rng.integers(0, 25, (tenants, languages, ARMS)),
                      rng.integers(20, 400, (tenants, languages, ARMS)))  # fmt: skip
    rows: Rows = {None: tuple(counts.sum(axis=(0, 1)).tolist())}
    for tenant in range(tenants):
        for language in range(languages):
            if counts[tenant, language].any():
                cell = Segment("tenant×language", f"t{tenant}×l{language}")
                rows[cell] = tuple(counts[tenant, language].tolist())
    if margins:
        rows |= {Segment("tenant", f"t{i}"): tuple(counts[i].sum(axis=0).tolist()) for i in range(tenants)}
        rows |= {Segment("language", f"l{i}"): tuple(counts[:, i].sum(axis=0).tolist()) for i in range(languages)}
    return rows


def solvable(rows: Rows, hidden: frozenset[Segment]) -> set[Segment]:
    """Hidden cells that are the same in all tables with these sums: by the null space of the sums, in floats."""
    cells = [cell for cell in rows if cell is not None]
    outside = sorted({one.whole for one in wholes(frozenset(cells)) if one.whole and one.whole not in rows}, key=str)
    unknown = [*sorted(hidden, key=str), *outside]
    sums = np.array(
        [
            [(cell in one.parts) - float(cell == one.whole) for cell in unknown]
            for one in wholes(frozenset(cells))
        ]
    )  # fmt: skip
    _, sizes, directions = np.linalg.svd(sums)
    free = directions[int((sizes > 1e-9).sum()) :]
    return {
        cell for place, cell in enumerate(unknown) if cell in hidden and np.abs(free[:, place]).max(initial=0) < 1e-9
    }


@pytest.mark.parametrize("margins", [True, False])
def test_no_sum_determines_a_withheld_cell(margins: bool) -> None:
    found = 0
    for seed in range(40):
        rows = table(seed, margins=margins)
        hidden = withheld(rows, MINIMUM)
        everything = hidden == rows.keys() - {None}
        found += not everything
        assert everything or not solvable(rows, hidden), f"seed {seed}"
    assert found > 20


def test_few_rows_alone_would_be_given_away() -> None:
    """The same tables with the small cells alone withheld: this test can fail."""
    assert any(
        solvable(rows, frozenset(cell for cell, n in rows.items() if cell is not None and min(n) < MINIMUM))
        for rows in (table(seed, margins=True) for seed in range(5))
    )


def test_what_the_shown_values_leave_of_everybody_is_no_small_cell() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        counts = [tuple(rng.integers(1, rng.choice([15, 30, 300]), ARMS).tolist()) for _ in range(8)]
        rows: Rows = {Segment("tenant", f"t{place}"): n for place, n in enumerate(counts)}
        rows[None] = tuple(map(sum, zip(*counts, strict=True)))
        hidden = withheld(rows, MINIMUM)
        assert all(min(n) >= MINIMUM for cell, n in rows.items() if cell is not None and cell not in hidden)
        left = np.array([rows[cell] for cell in hidden]).reshape(-1, ARMS).sum(axis=0)
        assert not hidden or len(hidden) == len(counts) or left.min() >= MINIMUM


def test_nothing_is_withheld_where_no_cell_is_small() -> None:
    assert withheld({Segment("tenant", name): (20, 20) for name in "ab"}, MINIMUM) == frozenset()


def test_a_cell_is_small_by_its_smaller_arm() -> None:
    a, b, c = (Segment("tenant", name) for name in "abc")
    assert withheld({None: (2_200, 550), a: (1_000, 19), b: (1_000, 500), c: (200, 31)}, MINIMUM) == {a, c}


def test_rows_in_no_cell_of_their_own_hide_a_small_one_as_well_as_a_second_cell_would() -> None:
    a, b = Segment("tenant", "a"), Segment("tenant", "b")
    assert withheld({None: (500, 500), a: (400, 400), b: (12, 12)}, MINIMUM) == {b}
    assert withheld({None: (431, 500), a: (400, 400), b: (12, 12)}, MINIMUM) == {a, b}


def test_what_is_withheld_already_stays_so_and_is_not_given_away_either() -> None:
    a, b, c = (Segment("tenant", name) for name in "abc")
    assert withheld({a: (90, 90), b: (50, 50), c: (70, 70)}, MINIMUM, frozenset({a})) == {a, b}


def test_a_cross_of_other_belongs_to_no_row() -> None:
    cells = frozenset({Segment("tenant×language", "a×de"), Segment("tenant×language", OTHER)})
    assert [one.parts for one in wholes(cells) if one.whole] == [(Segment("tenant×language", "a×de"),)] * 2

"""The published measurement: each kind of traffic is what it says, and a row that fails says so."""

from __future__ import annotations

import numpy as np
import pytest

from bench.calibration import FAILS_AT, OTHERS, RUNS, Counts, document, one
from bench.calibration_peers import Minutes, peeks, polls
from bench.calibration_traffic import METRICS, MINUTES, ROWS, Row, drawn


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_run_counts_the_judge_and_its_peers_on_the_same_requests(row: Row) -> None:
    found = one(row, seed=1, run=0)
    assert set(found) >= {OTHERS, *(f"{who} {metric}" for who in ("peeked", "polled") for metric in METRICS)}
    assert set(found.values()) <= {0, 1}


def test_a_run_is_the_same_whenever_it_is_drawn_and_runs_differ() -> None:
    one, again, other = (drawn(ROWS[0], 1, run).requests.metrics["latency_ms"] for run in (4, 4, 5))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()


def test_the_ramp_of_the_peers_is_the_one_that_the_budgets_make() -> None:
    """Exposure 50, 25, 10, 5 %: the judge's own throttles, at the end of each quarter."""
    row = next(row for row in ROWS if row.key == "ramp")
    n = Minutes.of(drawn(row, 1, 0), "latency_ms", row.stages).n
    share = (n[1] / n.sum(axis=0)).reshape(4, MINUTES // 4).mean(axis=1)
    assert share.tolist() == pytest.approx([0.5, 0.25, 0.10, 0.05], abs=0.03)


def test_peers_see_a_difference_and_no_difference() -> None:
    flat = np.full((2, MINUTES), 250.0)
    alike = Minutes(flat, flat * 100.0, flat * (100.0**2 + 50.0**2))
    worse = Minutes(flat, flat * [[100.0], [120.0]], flat * [[100.0**2 + 50.0**2], [120.0**2 + 50.0**2]])
    assert (peeks(alike, 0.01), polls(alike, 0.10)) == (False, False)
    assert (peeks(worse, 0.01), polls(worse, 0.10)) == (True, True)


def test_a_row_that_is_not_held_says_so() -> None:
    held, broken = (Counts("Gate@1", 1, RUNS, {"judge latency_ms": stops}) for stops in (FAILS_AT - 1, FAILS_AT))
    written = document([(ROWS[0], held), (ROWS[1], broken)], "python bench/calibration.py")
    latency = [line for line in written.splitlines() if "| latency_ms |" in line]
    assert ["**not held**" in line for line in latency] == [False, True]

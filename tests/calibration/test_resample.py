"""Drawing again by unit: requests of a unit stay together in their times, and units are drawn with replacement."""

from __future__ import annotations

from collections import Counter

import numpy as np

from stoploss.calibration.resample import Resampler
from tests.calibration.traffic import requests


def test_a_units_requests_stay_together_at_their_own_times() -> None:
    recorded = requests(1_000, users=100, tenants=("acme", "zeta"))
    drawn = Resampler(recorded).draw(1, 0)
    known = {tuple(recorded.at[recorded.unit == unit].tolist()) for unit in np.unique(recorded.unit)}
    assert {tuple(drawn.at[drawn.unit == unit].tolist()) for unit in np.unique(drawn.unit)} <= known
    assert (np.diff(drawn.at) >= 0).all()


def test_as_many_units_are_drawn_as_were_recorded_some_of_them_twice() -> None:
    recorded = requests(1_000, users=100)
    drawn = Resampler(recorded).draw(1, 0)
    assert drawn.distinct_units == recorded.distinct_units
    times = Counter(tuple(drawn.at[drawn.unit == unit].tolist()) for unit in np.unique(drawn.unit))
    assert max(times.values()) > 1
    assert len(times) < recorded.distinct_units


def test_columns_segments_and_details_go_with_their_request() -> None:
    recorded = requests(500, users=50, tenants=("acme", "zeta"))
    recorded.gates[7] = 1
    recorded.details[7] = "the seventh"  # type: ignore[index]
    latency_of = dict(zip(recorded.at.tolist(), recorded.metrics["latency_ms"].tolist(), strict=True))
    for run in range(5):
        drawn = Resampler(recorded).draw(1, run)
        assert [latency_of[at] for at in drawn.at.tolist()] == drawn.metrics["latency_ms"].tolist()
        tripped = np.flatnonzero(drawn.gates).tolist()
        assert sorted(drawn.details) == tripped
        assert all(drawn.at[row] == recorded.at[7] for row in tripped)


def test_a_run_depends_on_its_key_alone() -> None:
    resampler = Resampler(requests(500, users=50))
    assert resampler.draw(1, 2).unit.tolist() == resampler.draw(1, 2).unit.tolist()
    assert resampler.draw(1, 2).at.tolist() != resampler.draw(1, 3).at.tolist()

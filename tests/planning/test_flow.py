"""Traffic with time: as recorded, then as in the recording's second half."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stoploss.planning.flow import recorded, steady
from tests.calibration.traffic import requests


def test_recorded_counts_are_those_of_the_recording() -> None:
    some = requests(7_200, users=1_000, gap_s=1.0)
    flow = recorded(some)
    assert flow.requests_by(1.0) == pytest.approx(3_600, abs=40)
    assert flow.units_by(1.0) == pytest.approx(np.unique(some.unit[:3_600]).size, abs=10)
    assert flow.hours_until_requests(3_600) == pytest.approx(1.0, abs=0.02)


def test_beyond_the_recording_new_units_come_as_in_its_second_half() -> None:
    """Half of the thousand users come in the first minutes: a later hour brings few new ones."""
    flow = recorded(requests(7_200, users=1_000, gap_s=1.0))
    assert flow.requests_by(10.0) == pytest.approx(36_000, rel=0.02)
    assert flow.units_by(10.0) - flow.units_by(2.0) < 250


def test_where_no_new_unit_comes_none_ever_will() -> None:
    flow = recorded(requests(4_000, users=50))
    assert flow.units_by(1_000.0) == 50
    assert flow.hours_until_units(51) == math.inf


def test_steady_traffic_is_what_was_stated() -> None:
    flow = steady(1_200, 3)
    assert (flow.requests_by(2.5), flow.units_by(2.5)) == (3_000, 1_000)
    assert flow.hours_until_units(400) == 1.0

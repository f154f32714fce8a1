"""Small pieces of work rest in proportion to what they take, and no longer than is said."""

from __future__ import annotations

import pytest

from streams import pace
from streams.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "monotonic", clock)
    return clock


def worked(clock: Clock, took_s: float) -> Pace:
    found = Pace(longest_s=0.1)
    with found:
        clock.now_s += took_s
    return found


def test_work_that_took_long_rests_longer_than_work_that_took_little(clock: Clock) -> None:
    assert worked(clock, 0.02).rest_s() == pytest.approx(0.02)
    assert worked(clock, 0.01).rest_s() == pytest.approx(0.01)


def test_a_rest_is_never_longer_than_is_said_and_never_shorter_than_is_asked(clock: Clock) -> None:
    assert worked(clock, 5.0).rest_s() == pytest.approx(0.1)
    assert worked(clock, 0.0).rest_s(0.03) == pytest.approx(0.03)


def test_who_has_rested_need_not_wait(clock: Clock) -> None:
    found = worked(clock, 0.01)
    clock.now_s += 0.03
    assert found.rest_s() == 0.0
    assert Pace(longest_s=0.1).rest_s(0.05) == 0.0

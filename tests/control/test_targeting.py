"""The rule as text; that flags really come out so is in test_flagd.py, on the official SDK."""

from __future__ import annotations

import pytest

from stoploss.commands import Action, Segment
from stoploss.control.targeting import condition, targeting

from .orders import order, rollback


def _tenant(value: str) -> dict[str, object]:
    return {"in": [{"cat": [{"var": "tenant"}]}, [value]]}


def test_exposure_is_split_in_ten_thousandths_with_the_treatment_first() -> None:
    assert targeting(order(exposure=0.29)) == {"fractional": [["small", 2900], ["current", 7100]]}
    assert targeting(order(exposure=0.0025)) == {"fractional": [["small", 25], ["current", 9975]]}
    assert targeting(order(exposure=1.0)) == {"fractional": [["small", 10000], ["current", 0]]}


def test_without_exposure_there_is_no_rule() -> None:
    assert targeting(rollback()) is None
    assert targeting(rollback(stopped_segments=(Segment("tenant", "acme"),))) is None


def test_an_exposure_below_the_smallest_step_gives_nobody_the_treatment() -> None:
    assert targeting(order(Action.THROTTLE, exposure=0.00004)) is None


def test_stopped_segments_come_before_the_split() -> None:
    segments = (Segment("tenant", "acme"), Segment("tenant×language", "zeta×de"))
    rule = targeting(order(Action.STOP_SEGMENT, exposure=0.1, stopped_segments=segments))
    german = {"and": [_tenant("zeta"), {"in": [{"cat": [{"var": "language"}]}, ["de"]]}]}
    split = {"fractional": [["small", 1000], ["current", 9000]]}
    assert rule == {"if": [{"or": [_tenant("acme"), german]}, "current", split]}


def test_a_stopped_segment_stays_on_control_when_the_treatment_is_released_to_the_rest() -> None:
    released = order(exposure=0.0, release_variant="small", stopped_segments=(Segment("tenant", "acme"),))
    assert targeting(released) == {"if": [_tenant("acme"), "current", "small"]}


def test_consent_comes_before_everything_and_only_where_somebody_gets_the_treatment() -> None:
    """G3"""
    agreed = {"===": [{"var": "stoploss_consent"}, True]}
    split = {"fractional": [["small", 1000], ["current", 9000]]}
    assert targeting(order(needs_consent=True)) == {"if": [agreed, split, "current"]}
    stopped = order(needs_consent=True, stopped_segments=(Segment("tenant", "acme"),))
    assert targeting(stopped) == {"if": [agreed, {"if": [_tenant("acme"), "current", split]}, "current"]}
    released = order(exposure=0.0, release_variant="small", needs_consent=True)
    assert targeting(released) == {"if": [agreed, "small", "current"]}
    assert targeting(rollback(needs_consent=True)) is None


@pytest.mark.parametrize(
    "segment",
    [
        Segment("tenant", "other"),
        Segment("tenant×language", "other"),
        Segment("tenant×language", "acme×other"),
        Segment("tenant×language", "acme"),
        Segment("tenant×language", "a×b×de"),
        Segment("user.plan", "gold"),
    ],
    ids=str,
)
def test_a_segment_that_a_flag_cannot_tell_apart_closes_the_experiment_for_everybody(segment: Segment) -> None:
    assert condition(segment) is None
    segments = (Segment("tenant", "acme"), segment)
    rule = targeting(order(Action.STOP_SEGMENT, exposure=0.1, stopped_segments=segments))
    assert rule is not None
    assert rule["if"][:2] == [True, "current"]


def test_a_value_may_hold_the_sign_that_crosses_are_joined_by() -> None:
    assert condition(Segment("tenant", "4×4 Ltd")) == _tenant("4×4 Ltd")

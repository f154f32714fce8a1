from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import assert_never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoploss.commands import Action, Command, Segment
from stoploss.control.decide import AckAgain, Decision, Obey, Refuse, decide, effective, raises_exposure
from stoploss.control.position import Position, position_after

from .orders import NOW, SECOND, order, rollback

ACME = Segment("tenant", "acme")
LATE = NOW + 3_600 * SECOND


def _after(*commands: Command) -> Position:
    position: Position | None = None
    for command in commands:
        position = position_after(command, position)
    assert position is not None
    return position


def _reason(decision: Decision) -> str:
    match decision:
        case Refuse(reason):
            return reason
        case Obey() | AckAgain():
            return ""
        case _:
            assert_never(decision)


def test_the_first_command_is_obeyed() -> None:
    assert decide(None, order(), NOW) == Obey()


def test_the_last_command_again_is_only_acknowledged_even_when_it_has_expired() -> None:
    assert decide(_after(order()), order(), LATE) == AckAgain()


def test_a_raise_is_refused_from_the_moment_it_expires() -> None:
    command = order(expires_at=NOW + SECOND)
    assert decide(None, command, NOW + SECOND - 1) == Obey()
    assert _reason(decide(None, command, NOW + SECOND)) == (
        "it raises exposure and expired at 2023-11-14T22:13:21.000000Z"
    )


@pytest.mark.parametrize(
    ("action", "exposure"),
    [(Action.STOP, 0.0), (Action.ROLLBACK, 0.0), (Action.PAUSE, 0.0), (Action.THROTTLE, 0.01)],
)
def test_lowering_never_expires_not_even_where_nothing_was_applied_before(action: Action, exposure: float) -> None:
    command = order(action, 2, exposure=exposure, expires_at=NOW)
    assert decide(_after(order()), command, LATE) == Obey()
    assert decide(None, command, LATE) == Obey()


def test_an_exposure_set_lower_than_it_is_here_never_expires() -> None:
    assert decide(_after(order(exposure=0.5)), order(sequence=2, exposure=0.25), LATE) == Obey()


def test_stopping_a_further_segment_never_expires() -> None:
    command = order(Action.STOP_SEGMENT, 2, exposure=0.1, stopped_segments=(ACME,), expires_at=NOW)
    assert decide(_after(order()), command, LATE) == Obey()


def test_an_expired_raise_is_restored_where_the_registry_says_that_it_holds() -> None:
    assert decide(None, order(), LATE, in_force=True) == Obey()


def test_the_registry_cannot_bring_back_what_was_stopped() -> None:
    position = _after(order(), rollback(2))
    assert isinstance(decide(position, order(), LATE, in_force=True), Refuse)
    assert isinstance(decide(position, order(sequence=3), LATE, in_force=True), Refuse)


def test_a_lower_sequence_of_the_same_run_is_refused() -> None:
    assert _reason(decide(_after(order(sequence=5)), order(Action.PAUSE, 4), NOW)) == (
        "its sequence 4 is below 5, applied last in run 1"
    )


def test_gaps_in_the_sequence_are_normal_for_a_later_command_subsumes_the_missing() -> None:
    assert decide(_after(order(sequence=1)), order(Action.THROTTLE, 9, exposure=0.01), NOW) == Obey()


def test_a_lower_run_is_refused_whatever_its_sequence() -> None:
    assert _reason(decide(_after(order(run=2)), rollback(sequence=99, run=1), NOW)) == (
        "it is of run 1; run 2 was applied already"
    )


def test_a_higher_run_begins_with_any_sequence() -> None:
    assert decide(_after(order(sequence=7)), order(sequence=1, run=2), NOW) == Obey()


def test_one_sequence_number_is_not_applied_with_two_ids() -> None:
    decision = decide(_after(rollback(2)), rollback(2, command_id="another"), NOW)
    assert _reason(decision) == "sequence 2 of run 1 was applied with another id, c-1-2"


@pytest.mark.parametrize("stop", [Action.STOP, Action.ROLLBACK])
def test_nothing_raises_exposure_after_a_stop_in_the_same_run(stop: Action) -> None:
    position = _after(order(), order(stop, 2))
    for raising in (order(sequence=3), order(Action.THROTTLE, 3, exposure=0.01)):
        assert _reason(decide(position, raising, NOW)).startswith("run 1 was stopped and nothing raises its exposure")


def test_the_latch_holds_through_later_lowering_commands() -> None:
    position = _after(rollback(2), order(Action.PAUSE, 3))
    assert isinstance(decide(position, order(sequence=4), NOW), Refuse)


def test_after_a_stop_lowering_is_still_obeyed() -> None:
    assert decide(_after(rollback(2)), order(Action.STOP, 3), NOW) == Obey()


def test_a_persons_resume_opens_again_with_a_higher_run() -> None:
    assert decide(_after(order(), rollback(2)), order(sequence=1, run=2), NOW) == Obey()


def test_reopening_a_stopped_segment_is_a_raise() -> None:
    position = _after(order(Action.STOP_SEGMENT, 1, exposure=0.1, stopped_segments=(ACME,)))
    reopening = order(sequence=2, exposure=0.1)
    assert raises_exposure(position, reopening)
    assert isinstance(decide(position, reopening, LATE), Refuse)


def test_releasing_the_treatment_to_everybody_is_a_raise() -> None:
    release = order(sequence=2, exposure=0.0, release_variant="small")
    assert raises_exposure(None, release)
    assert raises_exposure(_after(order(exposure=0.5)), release)
    assert not raises_exposure(_after(release), order(sequence=3, exposure=0.0, release_variant="small"))


def test_an_action_of_a_newer_monitor_may_lower_but_not_raise() -> None:
    position = _after(order())
    assert decide(position, order(Action.UNKNOWN, 2, exposure=0.0), NOW) == Obey()
    assert "upgrade this controller" in _reason(decide(position, order(Action.UNKNOWN, 2, exposure=0.5), NOW))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (order(exposure=1.5), "exposure 1.5 is no share"),
        (order(exposure=-0.1), "exposure -0.1 is no share"),
        (order(exposure=float("nan")), "exposure nan is no share"),
        (rollback(exposure=0.2), "a rollback that leaves exposure 0.2 contradicts itself"),
        (order(Action.STOP, exposure=0.2), "a stop that leaves exposure 0.2 contradicts itself"),
        (rollback(release_variant="small"), "a rollback to 'small', which is not the control variant"),
    ],
)
def test_a_state_that_cannot_be_meant_is_refused(command: Command, reason: str) -> None:
    assert _reason(decide(None, command, NOW)).startswith(reason)


def _left(position: Position | None, backlog: list[Command], now: int, in_force: str | None = None) -> list[Command]:
    return list(effective(position, backlog, now, in_force=in_force).commands)


def test_a_late_starter_handles_the_last_state_only() -> None:
    backlog = [order(sequence=1), order(Action.THROTTLE, 2, exposure=0.01), rollback(3)]
    assert _left(None, backlog, LATE) == [rollback(3)]


def test_a_late_starter_answers_what_is_refused_after_the_last_state() -> None:
    backlog = [order(sequence=1), rollback(2), order(sequence=3)]
    assert _left(None, backlog, NOW) == [rollback(2), order(sequence=3)]


def test_a_late_starter_meets_the_last_applied_again() -> None:
    backlog = [order(sequence=1), rollback(2)]
    assert _left(_after(*backlog), backlog, LATE) == [rollback(2)]


def test_a_late_starter_skips_a_stop_but_not_its_latch() -> None:
    left = effective(None, [order(sequence=1), rollback(2), order(Action.PAUSE, 3)], NOW)
    assert left.commands == [order(Action.PAUSE, 3)]
    assert left.before == _after(order(sequence=1), rollback(2))


def test_a_late_starter_restores_an_expired_raise_that_is_in_force() -> None:
    backlog = [order(Action.PAUSE, 1), order(sequence=2, exposure=0.05), order(sequence=3, exposure=0.10)]
    assert _left(None, backlog, LATE, in_force="c-1-2") == backlog[1:]
    assert _left(None, backlog, LATE) == backlog


def test_a_late_starter_answers_the_last_command_where_all_are_refused() -> None:
    backlog = [order(sequence=1), order(sequence=2)]
    assert _left(None, backlog, LATE) == [order(sequence=2)]


def test_a_dry_run_hides_no_state_before_it() -> None:
    backlog = [rollback(2), order(sequence=3, run=2, dry_run=True)]
    assert _left(None, backlog, NOW) == backlog


def test_an_empty_backlog_leaves_nothing_to_do() -> None:
    assert _left(None, [], NOW) == []


ORDERS = st.builds(
    order,
    st.sampled_from([Action.SET_EXPOSURE, Action.THROTTLE, Action.PAUSE, Action.STOP_SEGMENT]),
    sequence=st.integers(1, 6),
    run=st.integers(1, 2),
    exposure=st.sampled_from([0.0, 0.1, 0.5]),
    stopped_segments=st.sampled_from([(), (ACME,)]),
) | st.builds(rollback, sequence=st.integers(1, 6), run=st.integers(1, 2))
UNIQUE = st.lists(ORDERS, max_size=12).map(
    lambda commands: [dataclasses.replace(c, command_id=f"{c}") for c in commands]
)


def _fold(commands: Sequence[Command], now: int, position: Position | None) -> Position | None:
    for command in commands:
        if decide(position, command, now) == Obey():
            position = position_after(command, position)
    return position


@given(UNIQUE, st.sampled_from([NOW, LATE]))
def test_skipping_the_states_in_between_ends_where_obeying_each_of_them_ends(commands: list[Command], now: int) -> None:
    left = effective(None, commands, now)
    assert _fold(left.commands, now, left.before) == _fold(commands, now, None)


@given(UNIQUE, st.sampled_from([NOW, LATE]))
def test_within_a_run_nobody_gets_the_treatment_after_a_stop_was_obeyed(commands: list[Command], now: int) -> None:
    position: Position | None = None
    for command in commands:
        if decide(position, command, now) == Obey():
            was_latched = position is not None and position.latched and position.run == command.run
            position = position_after(command, position)
            assert not was_latched or position.exposure == 0


@given(UNIQUE)
def test_the_position_only_moves_forward(commands: list[Command]) -> None:
    position: Position | None = None
    for command in commands:
        if decide(position, command, NOW) == Obey():
            before = position
            position = position_after(command, position)
            assert before is None or (before.run, before.sequence) < (position.run, position.sequence)

"""Commands that are not applied yet: deadlines, re-sends, and what settles them."""

from __future__ import annotations

import itertools

import pytest

from stoploss.commands import Ack, AckStatus, Command
from stoploss.control.messages import CommandMessage
from stoploss.ledger import AckOverdue
from streams.outstanding import Outstanding
from tests.control.orders import TOPIC, broken_glass, order, rollback

DEADLINE_S = 5.0


def message(command: Command) -> CommandMessage:
    return CommandMessage(TOPIC, b"checkout", command.command_id.encode(), [("stoploss-signature", b"s")])


def issued(*commands: Command, at_s: float = 0.0) -> Outstanding:
    outstanding = Outstanding(DEADLINE_S)
    for command in commands:
        outstanding.issued(command, message(command), at_s)
    return outstanding


def ack(command: Command, status: AckStatus = AckStatus.APPLIED, controller: str = "flagd") -> Ack:
    return Ack(command.command_id, command.experiment, command.run, command.sequence, controller, "one", status, "", 0)


def overdue(outstanding: Outstanding, now_s: float) -> list[AckOverdue]:
    return [fact for _, facts in outstanding.overdue(now_s) for fact in facts]


def test_a_command_is_overdue_once_its_deadline_has_passed_since_it_was_read() -> None:
    outstanding = issued(order(), at_s=100.0)
    assert overdue(outstanding, 104.9) == []
    (fact,) = overdue(outstanding, 105.0)
    assert (fact.controller, fact.waited_ms, fact.resent) == ("flagd", 5_000, 1)


def test_it_is_overdue_again_after_each_further_deadline_and_the_wait_is_counted_from_the_first_reading() -> None:
    outstanding = issued(order())
    assert overdue(outstanding, 5.0)
    assert overdue(outstanding, 9.9) == []
    (fact,) = overdue(outstanding, 10.0)
    assert (fact.waited_ms, fact.resent) == (10_000, 2)


def test_what_is_sent_again_is_the_message_as_it_was() -> None:
    command = rollback()
    ((waiting, _),) = issued(command).overdue(DEADLINE_S)
    assert (waiting.message, waiting.command.command_id) == (message(command), command.command_id)


@pytest.mark.parametrize(("status", "late"), [(AckStatus.APPLIED, False), (AckStatus.REJECTED, True)])
def test_only_applied_settles_a_command(status: AckStatus, late: bool) -> None:
    outstanding = issued(order())
    assert outstanding.acked(ack(order(), AckStatus.RECEIVED)) == order()
    assert outstanding.acked(ack(order(), status)) == order()
    assert bool(overdue(outstanding, DEADLINE_S)) is late


def test_every_required_controller_must_apply_it_and_those_that_did_not_are_named() -> None:
    command = order(controllers=("flagd", "gateway", "edge"))
    outstanding = issued(command)
    outstanding.acked(ack(command, controller="gateway"))
    assert [fact.controller for fact in overdue(outstanding, DEADLINE_S)] == ["edge", "flagd"]


def test_the_ack_of_a_stranger_settles_nothing() -> None:
    outstanding = issued(order())
    outstanding.acked(ack(order(), controller="stranger"))
    assert [fact.controller for fact in overdue(outstanding, DEADLINE_S)] == ["flagd"]


def test_a_later_command_subsumes_an_earlier_one() -> None:
    outstanding = issued(order(), rollback())
    assert [fact.command_id for fact in overdue(outstanding, DEADLINE_S)] == [rollback().command_id]
    assert outstanding.acked(ack(order())) is None
    outstanding.acked(ack(rollback()))
    assert overdue(outstanding, 2 * DEADLINE_S) == []


def test_a_command_read_again_is_not_issued_anew_and_its_deadline_stays() -> None:
    outstanding = Outstanding(DEADLINE_S)
    assert outstanding.issued(rollback(), message(rollback()), 0.0)
    assert not outstanding.issued(rollback(), message(rollback()), 4.0)
    assert not outstanding.issued(order(), message(order()), 4.0)
    assert overdue(outstanding, DEADLINE_S)


def test_a_new_run_counts_above_every_sequence_of_the_run_before() -> None:
    outstanding = issued(rollback(sequence=9))
    assert outstanding.issued(order(run=2), message(order(run=2)), 0.0)
    assert [fact.run for fact in overdue(outstanding, DEADLINE_S)] == [2]


def test_an_ack_that_is_read_before_its_command_counts() -> None:
    command = order(controllers=("flagd", "gateway"))
    outstanding = issued()
    assert outstanding.acked(ack(command, AckStatus.RECEIVED)) is None
    assert outstanding.acked(ack(command)) is None
    outstanding.issued(command, message(command), 0.0)
    assert [fact.controller for fact in overdue(outstanding, DEADLINE_S)] == ["gateway"]


def test_an_ack_of_another_command_settles_nothing_early() -> None:
    outstanding = issued(order())
    outstanding.acked(ack(order()))
    outstanding.acked(ack(rollback(sequence=3)))
    outstanding.issued(rollback(), message(rollback()), 0.0)
    assert [fact.command_id for fact in overdue(outstanding, DEADLINE_S)] == [rollback().command_id]


def test_each_instance_that_is_late_is_named() -> None:
    outstanding = Outstanding(DEADLINE_S)
    outstanding.issued(order(), message(order()), 0.0, {"flagd": ["one", "two", "three"]})
    outstanding.acked(ack(order()))
    assert [fact.instance for fact in overdue(outstanding, DEADLINE_S)] == ["three", "two"]
    outstanding.left("flagd", "two")
    outstanding.alive("flagd", "four")
    assert [fact.instance for fact in overdue(outstanding, 2 * DEADLINE_S)] == ["four", "three"]


def test_what_nobody_applies_for_long_is_sent_ever_more_seldom_but_for_ever() -> None:
    outstanding = issued(order())
    sent_at_s = [second for second in range(3_600) if overdue(outstanding, float(second))]
    waits_s = [after - before for before, after in itertools.pairwise(sent_at_s)]
    assert waits_s[:8] == [5] * 8
    assert waits_s[8:12] == [10, 20, 40, 60]
    assert set(waits_s[12:]) == {60}


def test_a_command_is_awaited_until_it_is_applied_however_late() -> None:
    outstanding = issued(order())
    overdue(outstanding, DEADLINE_S)
    assert outstanding.awaits(order().experiment)
    outstanding.acked(ack(order()))
    assert not outstanding.awaits(order().experiment)


def test_broken_glass_is_awaited_over_any_sequence_and_the_monitors_next_command_takes_its_place() -> None:
    outstanding = issued(order(sequence=7), broken_glass())
    assert [fact.command_id for fact in overdue(outstanding, DEADLINE_S)] == ["glass-1"]
    assert not outstanding.issued(order(sequence=7), message(order(sequence=7)), 0.0)
    assert not outstanding.issued(broken_glass(), message(broken_glass()), 0.0)
    assert outstanding.issued(rollback(8), message(rollback(8)), 0.0)
    assert not outstanding.issued(broken_glass(), message(broken_glass()), 0.0)


def test_broken_glass_of_a_run_that_a_person_has_ended_is_not_awaited() -> None:
    outstanding = issued(order(run=2))
    assert not outstanding.issued(broken_glass(run=1), message(broken_glass(run=1)), 0.0)


def test_experiments_do_not_settle_each_other() -> None:
    other = order(experiment="other", command_id="other-1")
    outstanding = issued(order(), other)
    outstanding.acked(ack(order()))
    assert [fact.experiment for fact in overdue(outstanding, DEADLINE_S)] == ["other"]

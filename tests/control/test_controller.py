from __future__ import annotations

import dataclasses

from stoploss.commands import Ack, AckStatus, Action, Command
from stoploss.control.controller import UNVERIFIED
from stoploss.control.messages import CommandMessage
from stoploss.control.position import PositionFile, position_after

from .orders import NOW, SECOND, order, rollback
from .site import Site

LATE = NOW + 3_600 * SECOND


def _said(acks: list[Ack]) -> list[tuple[str, str, str]]:
    return [(ack.command_id, ack.status.value, ack.reason) for ack in acks]


def _obeyed(command: Command, reason: str = "") -> list[tuple[str, str, str]]:
    return [(command.command_id, "received", ""), (command.command_id, "applied", reason)]


def test_a_command_is_received_then_applied_and_the_acks_say_by_whom(site: Site) -> None:
    received, applied = site.send(order(sequence=3, run=2))
    assert received == Ack("c-2-3", "checkout", 2, 3, "flagd", "a", AckStatus.RECEIVED, "", NOW)
    assert applied == Ack("c-2-3", "checkout", 2, 3, "flagd", "a", AckStatus.APPLIED, "", NOW)
    assert site.flag()["metadata"]["command_id"] == "c-2-3"


def test_a_rollback_takes_the_treatment_away(site: Site) -> None:
    site.send(order())
    assert "targeting" in site.flag()
    assert _said(site.send(rollback())) == _obeyed(rollback())
    assert "targeting" not in site.flag()
    assert site.flag()["defaultVariant"] == "current"


def test_a_refused_command_changes_nothing_and_says_why(site: Site) -> None:
    site.send(rollback(2))
    before = site.flag(), site.positions.read_text()
    received, rejected = site.send(order(sequence=1))
    assert received.status is AckStatus.RECEIVED
    assert (rejected.status, rejected.reason) == (
        AckStatus.REJECTED,
        "its sequence 1 is below 2, applied last in run 1",
    )
    assert (site.flag(), site.positions.read_text()) == before


def test_an_expired_raise_is_rejected_and_a_stop_that_old_is_applied(site: Site) -> None:
    site.now = LATE
    assert [ack.status for ack in site.send(order())] == [AckStatus.RECEIVED, AckStatus.REJECTED]
    assert [ack.status for ack in site.send(rollback())] == [AckStatus.RECEIVED, AckStatus.APPLIED]


def test_a_dry_run_is_acknowledged_and_changes_nothing(site: Site) -> None:
    assert _said(site.send(rollback(dry_run=True))) == _obeyed(rollback(), "dry run")
    assert list(site.directory.iterdir()) == []


def test_a_forgery_is_rejected_under_an_id_of_its_own(site: Site) -> None:
    real = site.message(rollback())
    forged = CommandMessage(real.topic, real.key, real.value + b"\x00", real.headers)
    (ack,) = site.controller.handle(forged)
    assert ack.status is AckStatus.REJECTED
    assert ack.command_id.startswith(UNVERIFIED)
    assert "forged" in ack.reason
    assert (ack.experiment, ack.run, ack.sequence) == ("checkout", 0, 0)
    assert not site.flags.exists()


def test_a_command_of_another_installation_is_rejected_and_says_so(site: Site) -> None:
    (ack,) = site.controller.handle(dataclasses.replace(site.message(rollback()), topic="other.control"))
    assert ack.status is AckStatus.REJECTED
    assert "it was copied from another installation" in ack.reason
    assert not site.flags.exists()


def test_a_resend_is_acknowledged_again_and_heals_a_file_changed_by_hand(site: Site) -> None:
    site.send(rollback())
    healthy = site.flag()
    site.flags.unlink()
    site.now = LATE
    assert _said(site.send(rollback())) == _obeyed(rollback())
    assert site.flag() == healthy


def test_what_was_applied_is_remembered_over_a_restart(site: Site) -> None:
    site.send(order(sequence=1))
    site.send(rollback(2))
    site.restart()
    assert site.send(order(sequence=3))[1].reason.startswith("run 1 was stopped")
    assert site.send(order(sequence=4, run=2))[1].status is AckStatus.APPLIED


def test_a_crash_between_action_and_position_applies_the_same_state_once_more(site: Site) -> None:
    site.send(order(sequence=1))
    position_before = site.positions.read_bytes()
    site.send(rollback(2))
    flag = site.flag()
    site.positions.write_bytes(position_before)
    site.restart()
    assert _said(site.catch_up(order(sequence=1), rollback(2))) == _obeyed(rollback(2))
    assert site.flag() == flag
    assert PositionFile(site.positions).all() == {"checkout": position_after(rollback(2), None)}


def test_an_action_that_fails_is_rejected_with_its_reason_and_a_resend_tries_again(site: Site) -> None:
    site.flags.write_text("{broken by hand")
    rejected = site.send(rollback())[1]
    assert rejected.status is AckStatus.REJECTED
    assert rejected.reason.startswith("could not be applied: the flag file")
    assert not site.positions.exists()
    site.flags.unlink()
    assert _said(site.send(rollback())) == _obeyed(rollback())
    assert PositionFile(site.positions).all()["checkout"].latched


def test_a_stop_that_could_not_be_carried_out_still_refuses_raises(site: Site) -> None:
    site.send(order(sequence=1))
    site.flags.write_text("{broken by hand")
    site.send(rollback(2))
    site.flags.unlink()
    assert site.send(order(sequence=3))[1].reason.startswith("run 1 was stopped")


def test_a_raise_that_could_not_be_carried_out_is_not_carried_out_after_its_expiry(site: Site) -> None:
    site.flags.write_text("{broken by hand")
    site.send(order())
    site.flags.unlink()
    site.now = LATE
    assert "expired" in site.send(order())[1].reason


def test_catching_up_goes_to_the_last_state_of_each_experiment_at_once(site: Site) -> None:
    other = order(experiment="search", flag="search-model", command_id="s-1-1")
    acks = site.catch_up(order(sequence=1), other, order(sequence=2, exposure=0.5), rollback(3))
    assert _said(acks) == [*_obeyed(rollback(3)), *_obeyed(other)]
    assert "targeting" not in site.flag()


def test_catching_up_keeps_the_latch_of_a_stop_that_it_skips(site: Site) -> None:
    site.catch_up(order(sequence=1), rollback(2), order(Action.PAUSE, 3))
    site.restart()
    assert site.send(order(sequence=4))[1].reason.startswith("run 1 was stopped")


def test_catching_up_restores_an_old_raise_only_where_the_registry_names_it(site: Site) -> None:
    site.now = LATE
    assert "expired" in site.catch_up(order())[1].reason
    assert not site.flags.exists()
    assert _said(site.catch_up(order(), in_force={"checkout": "c-1-1"})) == _obeyed(order())
    assert site.flag()["metadata"]["exposure"] == 0.10


def test_catching_up_passes_over_forgeries_in_the_backlog(site: Site) -> None:
    forged = CommandMessage("stoploss.control", b"checkout", b"forged", [])
    acks = site.controller.catch_up([forged, site.message(rollback()), forged], {})
    assert _said(acks) == _obeyed(rollback())

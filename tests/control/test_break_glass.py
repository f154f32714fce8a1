"""A person's stop past the monitor: obeyed over any sequence until a later resume, and good for nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stoploss.commands import Ack, AckStatus, Action
from stoploss.control.position import PositionFile
from stoploss.signing import Signer

from .orders import NOW, SECOND, broken_glass, order, rollback
from .site import Site


def _statuses(acks: list[Ack]) -> list[AckStatus]:
    return [ack.status for ack in acks]


OBEYED = [AckStatus.RECEIVED, AckStatus.APPLIED]


def test_it_is_obeyed_over_any_sequence_and_nothing_of_its_run_raises_again(site: Site, person: Signer) -> None:
    site.send(order(sequence=7))
    assert _statuses(site.send(broken_glass(), person)) == OBEYED
    assert "targeting" not in site.flag()
    refused = site.send(order(sequence=8))[1]
    assert refused.status is AckStatus.REJECTED
    assert refused.reason.startswith("a person broke the glass at ")
    assert "targeting" not in site.flag()


def test_the_last_raise_sent_again_does_not_mend_it(site: Site, person: Signer) -> None:
    site.send(order(sequence=7))
    site.send(broken_glass(), person)
    assert site.send(order(sequence=7))[1].status is AckStatus.REJECTED
    assert "targeting" not in site.flag()


def test_the_monitors_own_stop_is_obeyed_behind_it_and_both_may_come_again(site: Site, person: Signer) -> None:
    site.send(order(sequence=7))
    site.send(broken_glass(), person)
    for command, signer in ((rollback(8), None), (broken_glass(), person), (rollback(8), None)):
        assert _statuses(site.send(command, signer)) == OBEYED


def test_a_later_resume_ends_it(site: Site, person: Signer) -> None:
    site.send(order(sequence=7))
    site.send(broken_glass(), person)
    assert _statuses(site.send(order(run=2, decided_at=NOW + 2 * SECOND))) == OBEYED
    assert "targeting" in site.flag()
    assert site.send(broken_glass(run=1), person)[1].reason == "it is of run 1; run 2 was applied already"


def test_a_resume_that_was_decided_before_it_does_not_end_it(site: Site, person: Signer) -> None:
    """The judge was down and finds an old request in the backlog."""
    site.send(order(sequence=7))
    site.send(broken_glass(), person)
    refused = site.send(order(run=2, decided_at=NOW))[1]
    assert "this was decided before" in refused.reason
    assert "targeting" not in site.flag()


def test_it_is_remembered_over_a_restart_and_in_a_backlog(site: Site, person: Signer) -> None:
    site.send(order(sequence=7))
    site.send(broken_glass(), person)
    site.restart()
    assert PositionFile(site.positions).all()["checkout"].glass_id == "glass-1"
    assert site.send(order(sequence=8))[1].status is AckStatus.REJECTED
    site.catch_up(order(sequence=8), in_force={"checkout": "c-1-8"})
    assert "targeting" not in site.flag()


def test_a_controller_that_never_heard_of_the_experiment_obeys_it(site: Site, person: Signer) -> None:
    assert _statuses(site.send(broken_glass(), person)) == OBEYED
    assert site.send(order(sequence=1))[1].status is AckStatus.REJECTED


def test_a_position_without_broken_glass_is_read_by_the_version_before(site: Site) -> None:
    site.send(order(sequence=7))
    assert "glass" not in site.positions.read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"exposure": 0.1, "action": Action.SET_EXPOSURE},
        {"action": Action.STOP_SEGMENT},
        {"release_variant": "small"},
        {"sequence": 8},
    ],
)
def test_a_persons_key_can_do_nothing_else(site: Site, person: Signer, changes: dict[str, Any]) -> None:
    site.send(order(sequence=7))
    before = site.flag()
    (refused,) = site.send(dataclasses.replace(broken_glass(), **changes), person)
    assert refused.status is AckStatus.REJECTED
    assert "may only break the glass" in refused.reason
    assert site.flag() == before


def test_the_monitors_key_cannot_stand_in_for_a_persons(site: Site) -> None:
    (refused,) = site.send(broken_glass())
    assert "is the monitor's and its command has no sequence" in refused.reason

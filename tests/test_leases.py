"""Leases out of the judge: what a canary's row leads to, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stoploss import leases
from stoploss.canary import canary_of
from stoploss.control.keys import create_keys
from stoploss.errors import CommandRefused, WireError
from stoploss.leases import Lease, LeasedRun
from stoploss.leases.message import headers_of, read_lease
from stoploss.ledger import EvidenceBlock
from stoploss.outputs import LeaseOutput, Output
from stoploss.signing import SIGNATURE_HEADER, Signer, Verifier
from tests.timelines import Timeline, refolded, spec, traces, with_gate

LEASE = Lease(3, 412, (LeasedRun("checkout", 2),), 1_790_000_000_000_000)


def canary(timeline: Timeline) -> EvidenceBlock:
    [block] = timeline.blocks(traces(1, seed=1), experiment=canary_of(0))
    return block


def leases_in(outputs: list[Output]) -> list[Lease]:
    return [output.lease for output in outputs if isinstance(output, LeaseOutput)]


def test_a_canary_that_came_through_gives_a_lease_to_every_run_that_is_live() -> None:
    timeline = Timeline().started()
    [lease] = leases_in(timeline.append(canary(timeline)))
    row = timeline.entries[-1]
    assert lease == Lease(0, row.offset, (LeasedRun("checkout", 1),), row.at)


def test_a_lease_is_of_the_run_that_is_live_now() -> None:
    timeline = Timeline().started()
    timeline.ask("pause")
    assert leases_in(timeline.append(canary(timeline))) == []
    timeline.ask("resume")
    [lease] = leases_in(timeline.append(canary(timeline)))
    assert lease.experiments == (LeasedRun("checkout", 2),)


def test_what_was_stopped_gets_no_lease_and_what_is_held_goes_on_to_have_one() -> None:
    timeline = Timeline(spec("health: {blind: {hold: 5s, then: none}}")).started()
    for _ in range(30):
        timeline.tick()
    assert timeline.it.lifecycle == "holding"
    assert len(leases_in(timeline.append(canary(timeline)))) == 1
    timeline.traces(with_gate(traces(50, seed=2, share=1.0), 3, bit=0))
    assert timeline.it.lifecycle == "stopped"
    assert leases_in(timeline.append(canary(timeline))) == []


def test_watermarks_rise_and_a_repeated_canary_gives_no_lease() -> None:
    timeline = Timeline().started()
    found = []
    for _ in range(3):
        block = canary(timeline)
        found += leases_in(timeline.append(block))
        assert leases_in(timeline.append(block)) == []
    assert [lease.watermark for lease in found] == sorted({lease.watermark for lease in found})
    assert len(found) == 3


def test_the_same_ledger_gives_the_same_leases_again() -> None:
    timeline = Timeline().started()
    for _ in range(3):
        timeline.append(canary(timeline))
        timeline.seconds(1)
    assert leases_in(refolded(timeline.entries)) == leases_in(timeline.outputs)


# ---- as a message ----------------------------------------------------------------------------------


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.load(create_keys(tmp_path).private)


@pytest.fixture
def verifier(tmp_path: Path, signer: Signer) -> Verifier:
    return Verifier.load(tmp_path / "monitor.pub")


def test_a_lease_comes_back_as_it_was_signed(signer: Signer, verifier: Verifier) -> None:
    value = leases.encode(LEASE)
    assert read_lease(value, headers_of(value, signer), verifier) == LEASE


def test_a_lease_that_was_changed_forged_or_not_signed_is_refused(
    signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    value = leases.encode(LEASE)
    right = headers_of(value, signer)
    forger = Signer.load(create_keys(tmp_path / "forger").private)
    other = leases.encode(replace(LEASE, watermark=10**9))
    for bad, headers in ((other, right), (value, headers_of(value, forger)), (value, []), (value, [*right, *right])):
        with pytest.raises(CommandRefused):
            read_lease(bad, headers, verifier)


def test_what_is_signed_and_no_lease_is_refused(signer: Signer, verifier: Verifier) -> None:
    with pytest.raises(WireError):
        read_lease(b"no lease", headers_of(b"no lease", signer), verifier)
    assert headers_of(b"", signer)[0][0] == SIGNATURE_HEADER

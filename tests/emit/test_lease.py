"""A service's view of the lease, on a clock that the test moves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message

from stoploss import leases
from stoploss.control.keys import create_keys
from stoploss.emit import Assignment
from stoploss.emit.clock import Clock
from stoploss.emit.lease import LeaseReader, Leases, Standing
from stoploss.leases import Lease, LeasedRun
from stoploss.leases.message import headers_of
from stoploss.signing import Signer

BROKER_S = 1_790_000_000
TREATED = Assignment("checkout", "small", run=1, epoch=3)


@dataclass
class Hand:
    """A clock that stands still until it is moved."""

    now_s: float = 1_000.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now_s)


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def heard(clock: Hand) -> Leases:
    return Leases(clock.clock.monotonic_s)


def lease(watermark: int, run: int = 1, experiment: str = "checkout", partition: int = 0, at_s: float = 0) -> Lease:
    return Lease(partition, watermark, (LeasedRun(experiment, run),), round((BROKER_S + at_s) * 1e6))


# ---- how long it holds -----------------------------------------------------------------------------


def test_a_lease_holds_for_a_minute_and_lapses_then(heard: Leases, clock: Hand) -> None:
    assert heard.standing("checkout", 1) is Standing.UNKNOWN
    heard.renew(lease(1))
    clock.now_s += 60
    assert heard.standing("checkout", 1) is Standing.HELD
    clock.now_s += 0.001
    assert heard.standing("checkout", 1) is Standing.LAPSED


def test_each_lease_renews_it_and_a_short_lapse_ends_with_the_next_one(heard: Leases, clock: Hand) -> None:
    for watermark in range(100):
        heard.renew(lease(watermark))
        clock.now_s += 5
        assert heard.standing("checkout", 1) is Standing.HELD
    clock.now_s += 300
    assert heard.standing("checkout", 1) is Standing.LAPSED
    heard.renew(lease(100))
    assert heard.standing("checkout", 1) is Standing.HELD


def test_a_lapse_of_more_than_five_minutes_latches_until_a_person_resumes(heard: Leases, clock: Hand) -> None:
    heard.renew(lease(1))
    clock.now_s += 60 + 300
    assert heard.standing("checkout", 1) is Standing.LAPSED
    clock.now_s += 0.001
    assert heard.standing("checkout", 1) is Standing.LATCHED
    for watermark in range(2, 50):
        heard.renew(lease(watermark))
        clock.now_s += 5
        assert heard.standing("checkout", 1) is Standing.LATCHED
    heard.renew(lease(50, run=2))
    assert heard.standing("checkout", 2) is Standing.HELD
    assert heard.standing("checkout") is Standing.HELD
    assert heard.standing("checkout", 1) is Standing.LAPSED


def test_a_run_that_is_not_the_one_that_is_watched_has_no_lease(heard: Leases) -> None:
    """The flag is behind the monitor, or ahead of its next lease."""
    heard.renew(lease(1, run=2))
    assert heard.standing("checkout", 1) is Standing.LAPSED
    assert heard.standing("checkout", 3) is Standing.UNKNOWN
    heard.renew(lease(2, run=1))
    assert heard.standing("checkout", 2) is Standing.HELD


def test_only_a_watermark_that_rises_renews_and_each_partition_has_its_own(heard: Leases, clock: Hand) -> None:
    heard.renew(lease(10))
    clock.now_s += 61
    for watermark in (10, 9, 1):
        heard.renew(lease(watermark))
    heard.renew(lease(11, experiment="other", partition=1))
    assert heard.standing("checkout", 1) is Standing.LAPSED
    heard.renew(lease(11))
    assert heard.standing("checkout", 1) is Standing.HELD


def test_a_lease_is_of_the_runs_that_it_names_and_of_no_other(heard: Leases, clock: Hand) -> None:
    """A run that was stopped is in no lease any more."""
    heard.renew(Lease(0, 1, (LeasedRun("a", 1), LeasedRun("b", 1)), 0))
    clock.now_s += 61
    heard.renew(Lease(0, 2, (LeasedRun("b", 1),), 0))
    assert (heard.standing("a", 1), heard.standing("b", 1)) == (Standing.LAPSED, Standing.HELD)


# ---- what counts as one ----------------------------------------------------------------------------


@dataclass
class Site:
    """A reader whose messages the test hands over; its broker is absent."""

    reader: LeaseReader
    signer: Signer
    clock: Hand

    def hears(self, one: Lease, *, appended_s: float | None = None, kind: int = TIMESTAMP_LOG_APPEND_TIME) -> bool:
        """The broker took it when the canary's row says, unless told otherwise."""
        value = leases.encode(one)
        at_ms = one.at // 1_000 if appended_s is None else round((BROKER_S + appended_s) * 1e3)
        return self.gives(value, headers_of(value, self.signer), (kind, at_ms), one.partition)

    def gives(self, value: bytes, headers: object, timestamp: tuple[int, int], partition: int = 0) -> bool:
        message = Message(
            topic="stoploss.leases", partition=partition, value=value, headers=headers, timestamp=timestamp
        )
        return self.reader.take(message)

    @property
    def standing(self) -> Standing:
        return self.reader.standing("checkout", 1)


@pytest.fixture
def site(tmp_path: Path, clock: Hand) -> Iterator[Site]:
    pair = create_keys(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        reader = LeaseReader(address, public_keys=[pair.public], clock=clock.clock)
        yield Site(reader, Signer.load(pair.private), clock)
        reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stoploss-")]


def test_a_signed_lease_that_the_broker_took_at_once_counts(site: Site) -> None:
    assert site.hears(lease(1)) is True
    assert site.standing is Standing.HELD


def test_what_stands_in_a_backlog_revives_nobody(site: Site, clock: Hand) -> None:
    """The network was away for two minutes, and the monitor died meanwhile: what it had signed before is read now."""
    site.hears(lease(1))
    clock.now_s += 120
    assert site.hears(lease(2, at_s=10)) is False
    assert site.standing is Standing.LAPSED
    clock.now_s += 5
    assert site.hears(lease(30, at_s=125)) is True
    assert site.standing is Standing.HELD


def test_the_first_lease_that_is_read_late_is_not_counted_either(site: Site, clock: Hand) -> None:
    clock.now_s += 21
    assert site.hears(lease(1)) is False
    assert site.standing is Standing.UNKNOWN


def test_a_judge_that_catches_up_after_an_outage_revives_nobody(site: Site, clock: Hand) -> None:
    """Its leases are signed and their watermarks rise, and the canaries that they stand on are an hour old."""
    site.hears(lease(1))
    for number in range(40):
        clock.now_s += 2
        site.hears(lease(2 + number, at_s=number), appended_s=3_600)
    assert site.standing is Standing.LAPSED
    site.hears(lease(100, at_s=3_590), appended_s=3_600)
    assert site.standing is Standing.HELD


def test_a_lease_that_the_broker_did_not_stamp_counts_for_nothing(site: Site) -> None:
    site.hears(lease(1), kind=TIMESTAMP_CREATE_TIME)
    assert site.standing is Standing.UNKNOWN


def test_a_forged_copied_or_broken_lease_counts_for_nothing(site: Site, tmp_path: Path) -> None:
    now = (TIMESTAMP_LOG_APPEND_TIME, BROKER_S * 1_000)
    value = leases.encode(lease(5))
    forger = Signer.load(create_keys(tmp_path / "forger").private)
    for headers in (headers_of(value, forger), [], None, [("stoploss-signature", b"nonsense")]):
        assert site.gives(value, headers, now) is True
    assert site.gives(b"", headers_of(b"", site.signer), now) is True
    assert site.standing is Standing.UNKNOWN


def test_settings_that_the_client_refuses_leave_the_service_in_control_and_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = LeaseReader(public_keys=[create_keys(tmp_path).public], consumer_config={"no.such.setting": 1})
    reader.close()
    assert reader.or_control(TREATED, "current").variant == "current"
    assert "no.such.setting" in caplog.text


# ---- what the service is told ----------------------------------------------------------------------


def test_an_assignment_stands_while_its_run_is_watched_and_is_control_uncompared_elsewhere(
    site: Site, clock: Hand
) -> None:
    uncompared = Assignment("checkout", "current", run=0, epoch=0)
    assert site.reader.or_control(TREATED, "current") == uncompared
    site.hears(lease(1))
    assert site.reader.or_control(TREATED, "current") is TREATED
    clock.now_s += 61
    assert site.reader.or_control(TREATED, "current") == uncompared


@pytest.mark.parametrize(
    ("needs_consent", "consent", "variant"),
    [
        (True, None, "current"),
        (True, False, "current"),
        (True, True, "small"),
        (False, None, "small"),
    ],
)
def test_who_has_to_agree_and_has_not_gets_control_although_the_run_is_watched(
    site: Site, needs_consent: bool, consent: bool | None, variant: str
) -> None:
    """G3"""
    site.hears(lease(1))
    chosen = replace(TREATED, consent=consent, needs_consent=needs_consent)
    given = site.reader.or_control(chosen, "current")
    assert (given.variant, given.run, given.consent) == (variant, 1 if variant == "small" else 0, consent)


def test_consent_is_kept_and_an_unstamped_assignment_needs_some_run_that_is_watched(site: Site) -> None:
    unstamped = Assignment("checkout", "small", consent=True)
    assert site.reader.or_control(unstamped, "current").consent is True
    site.hears(lease(1, run=7))
    assert site.reader.or_control(unstamped, "current") is unstamped

"""The provider as services use it, through OpenFeature's own client; commands and leases are handed over."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails

from stoploss import leases
from stoploss.commands import Command, Segment
from stoploss.control.flagd import FlagdFile
from stoploss.control.keys import create_keys
from stoploss.control.messages import write_command
from stoploss.emit.assignment import from_details
from stoploss.leases import Lease, LeasedRun
from stoploss.leases.message import headers_of
from stoploss.openfeature import StoplossProvider
from stoploss.signing import Signer
from tests.control.orders import NOW, order, rollback
from tests.emit.test_lease import Hand

USERS = [f"user-{number}" for number in range(300)]
HALF = {"exposure": 0.5}


@dataclass
class Service:
    provider: StoplossProvider
    client: OpenFeatureClient
    signer: Signer
    clock: Hand
    watermark: int = 0
    fallback: str = field(default="fallback")

    def obeys(self, command: Command, signer: Signer | None = None) -> None:
        message = write_command(command, signer or self.signer, "test")
        self.provider.flags.take(message.value, message.headers)

    def hears(self, run: int = 1) -> None:
        self.watermark += 1
        lease = Lease(0, self.watermark, (LeasedRun("checkout", run),), NOW)
        value = leases.encode(lease)
        message = Message(
            topic="stoploss.leases",
            partition=0,
            value=value,
            headers=headers_of(value, self.signer),
            timestamp=(TIMESTAMP_LOG_APPEND_TIME, NOW // 1_000),
        )
        assert self.provider.leases.take(message) is True

    def ask(self, user: str = "user-1", **attributes: str | bool) -> FlagEvaluationDetails[str]:
        context = EvaluationContext(user, dict(attributes))
        return cast(
            "FlagEvaluationDetails[str]", self.client.get_string_details("checkout-model", self.fallback, context)
        )

    def treated(self, **attributes: str | bool) -> set[str]:
        return {user for user in USERS if self.ask(user, **attributes).value == "small"}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Its broker is absent: it starts all the same."""
    monkeypatch.setattr("stoploss.openfeature.READY_WITHIN_S", 0.0)
    pair, clock = create_keys(tmp_path / "keys"), Hand()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        provider = StoplossProvider(address, public_keys=[pair.public], clock=clock.clock)
        domain = f"lease-{tmp_path.name}"
        api.set_provider_and_wait(provider, domain)
        yield Service(provider, api.get_client(domain), Signer.load(pair.private), clock)
        provider.shutdown()


def test_without_a_command_the_caller_gets_its_own_default(service: Service) -> None:
    details = service.ask()
    assert (details.value, details.variant) == ("fallback", None)


def test_who_is_watched_is_split_and_who_is_not_gets_control(service: Service) -> None:
    service.obeys(order(**HALF))
    assert service.treated() == set()
    service.hears()
    assert 100 < len(service.treated()) < 200
    service.clock.now_s += 61
    assert service.treated() == set()
    assert service.ask().reason == "STALE"


def test_a_service_starts_an_hour_after_the_raise_was_ordered(service: Service) -> None:
    """For controllers the command has expired; here the lease vouches for its run."""
    service.obeys(order(**HALF, expires_at=NOW + 1))
    service.hears()
    assert service.treated() != set()


def test_units_fall_into_the_same_arms_as_with_the_flag_file(service: Service, tmp_path: Path) -> None:
    command = order(**HALF, stopped_segments=(Segment("tenant", "acme"),))
    service.obeys(command)
    service.hears()
    path = tmp_path / "flags.json"
    FlagdFile(path).apply(command)
    file = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=20)
    api.set_provider_and_wait(file, "flag-file")
    client = api.get_client("flag-file")
    by_file = {
        user
        for user in USERS
        if client.get_string_value("checkout-model", "", EvaluationContext(user, {"tenant": "zeta"})) == "small"
    }
    file.shutdown()
    assert service.treated(tenant="zeta") == by_file
    assert service.treated(tenant="acme") == set()


def test_a_rollback_needs_no_lease_and_a_lapse_after_it_changes_nothing(service: Service) -> None:
    service.obeys(order(**HALF))
    service.hears()
    service.obeys(rollback())
    assert service.treated() == set()
    before = service.ask()
    service.clock.now_s += 1_000
    assert service.ask() == before
    assert before.flag_metadata["run"] == 1


def test_a_lapse_of_more_than_five_minutes_ends_with_the_run_that_a_person_resumes(service: Service) -> None:
    service.obeys(order(**HALF))
    service.hears()
    for silence_s in (61, 361):
        service.clock.now_s += silence_s
        service.provider.leases._read_at_s[0] = service.clock.now_s
        service.hears()
    assert service.treated() == set()
    assert service.ask().flag_metadata["lease"] == "latched"
    service.obeys(order(**HALF, run=2))
    service.hears(run=2)
    assert service.treated() != set()


def test_what_is_served_without_a_lease_is_stamped_with_no_run_and_what_is_with_one_with_its_own(
    service: Service,
) -> None:
    service.obeys(order(**HALF, epoch=4))
    lapsed = from_details(service.ask())
    assert (lapsed.experiment, lapsed.variant, lapsed.run, lapsed.epoch) == ("checkout", "current", 0, 0)
    service.hears()
    held = from_details(service.ask())
    assert (held.experiment, held.run, held.epoch) == ("checkout", 1, 4)


def test_where_consent_is_needed_who_did_not_agree_gets_control_and_is_compared_with_nothing(service: Service) -> None:
    """G3"""
    service.obeys(order(**HALF))
    service.hears()
    everybody = service.treated()
    service.obeys(order(**HALF, sequence=2, needs_consent=True))
    for unheard in ({}, {"stoploss_consent": False}, {"stoploss_consent": "yes"}):
        assert service.treated(**unheard) == set()
    assert service.treated(stoploss_consent=True) == everybody != set()
    opted_out = from_details(service.ask(stoploss_consent=False))
    assert (opted_out.variant, opted_out.run, opted_out.epoch, opted_out.consent) == ("current", 0, 0, False)
    agreed = from_details(service.ask(stoploss_consent=True))
    assert (agreed.run, agreed.consent, agreed.lacks_consent) == (1, True, False)


def test_a_rollback_gives_everybody_control_whether_they_agreed_or_not(service: Service) -> None:
    service.obeys(order(**HALF, needs_consent=True))
    service.hears()
    service.obeys(rollback(needs_consent=True))
    assert service.treated(stoploss_consent=True) == set()
    assert service.ask().flag_metadata["run"] == 1


def test_old_forged_and_dry_commands_change_nothing(service: Service, tmp_path: Path) -> None:
    service.obeys(order(**HALF))
    service.hears()
    treated = service.treated()
    forger = Signer.load(create_keys(tmp_path / "forger").private)
    service.obeys(rollback(), signer=forger)
    service.obeys(rollback(dry_run=True))
    service.obeys(order(sequence=1, command_id="another", exposure=1.0))
    assert service.treated() == treated
    service.obeys(rollback())
    service.obeys(order(sequence=3, **HALF))
    assert service.treated() == set()


def test_a_flag_of_another_type_gets_its_default(service: Service) -> None:
    service.obeys(order(**HALF))
    service.hears()
    assert service.client.get_boolean_details("checkout-model", True).value is True
    assert service.client.get_integer_details("checkout-model", 7).value == 7
    assert service.client.get_float_details("checkout-model", 0.5).value == 0.5
    assert service.client.get_object_details("checkout-model", {"a": 1}).value == {"a": 1}

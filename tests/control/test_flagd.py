"""The flag file as services read it: OpenFeature's Python SDK with flagd's provider in file mode."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.contrib.provider.flagd.resolvers.process.connector.file_watcher import FileWatcher
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.flag_evaluation import FlagEvaluationDetails

from stoploss.commands import Action, Command, Segment
from stoploss.control.flagd import FlagdFile
from stoploss.errors import CommandRefused, ConfigurationError

from .orders import order, rollback

USERS = [f"user-{number}" for number in range(5_000)]
WAIT_S = 20.0


class Service:
    """A service that asks for its variant; `follow` applies a command and waits until the SDK has seen the file."""

    def __init__(self, path: Path, client: OpenFeatureClient) -> None:
        self.path = path
        self._client = client
        self._changed = threading.Condition()
        self._client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, self._on_change)

    def _on_change(self, _: EventDetails) -> None:
        with self._changed:
            self._changed.notify_all()

    def follow(self, command: Command) -> None:
        with self._changed:
            FlagdFile(self.path).apply(command)
            seen = self._changed.wait_for(lambda: self._command_id() == command.command_id, WAIT_S)
        assert seen, f"the SDK did not see {command.command_id} within {WAIT_S} s"

    def _command_id(self) -> Any:
        return self.ask("anybody").flag_metadata.get("command_id")

    def ask(self, user: str, **attributes: Any) -> FlagEvaluationDetails[str]:
        return self._client.get_string_details("checkout-model", "fallback", EvaluationContext(user, attributes))

    def treated(self, **attributes: Any) -> set[str]:
        return {user for user in USERS if self.ask(user, **attributes).variant == "small"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    path = tmp_path / "flags.json"
    FlagdFile(path).apply(order(command_id="before", exposure=0.0))
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=10, cache=None
    )
    api.set_provider_and_wait(provider, "service")
    yield Service(path, api.get_client("service"))
    provider.shutdown()
    api.clear_providers()


def test_a_service_learns_variant_run_and_epoch_from_the_evaluation_details(service: Service) -> None:
    service.follow(order(run=3, epoch=7, sequence=4, exposure=1.0))
    details = service.ask("user-1")
    assert (details.value, details.variant, str(details.reason)) == ("small", "small", "TARGETING_MATCH")
    assert details.flag_metadata == {
        "experiment": "checkout",
        "run": 3,
        "epoch": 7,
        "version": "3.7",
        "exposure": 1.0,
        "command_id": "c-3-4",
        "sequence": 4,
        "needs_consent": False,
    }


def test_ten_per_cent_exposure_is_ten_per_cent_of_users(service: Service) -> None:
    """Binomial, 5,000 users at 10 %: 500 ± 21; 400 to 600 is within five standard deviations."""
    service.follow(order(exposure=0.10))
    assert 400 < len(service.treated()) < 600


def test_an_exposure_below_one_per_cent_works(service: Service) -> None:
    service.follow(order(exposure=0.004))
    assert 2 < len(service.treated()) < 45


def test_who_has_the_treatment_keeps_it_while_exposure_rises(service: Service) -> None:
    stages = []
    for sequence, exposure in enumerate((0.005, 0.05, 0.25, 1.0), start=1):
        service.follow(order(sequence=sequence, exposure=exposure))
        stages.append(service.treated())
    assert stages[0] < stages[1] < stages[2] < stages[3] == set(USERS)


def test_a_service_sees_the_flip_to_control_after_a_rollback(service: Service) -> None:
    service.follow(order(exposure=0.5))
    assert service.treated()
    service.follow(rollback())
    assert service.treated() == set()
    assert service.ask("user-1").value == "current"
    assert str(service.ask("user-1").reason) == "STATIC"


def test_a_command_is_seen_although_the_clock_was_set_back(service: Service) -> None:
    """The provider reads a file again only when it is younger; the one before seems to be of the next hour."""
    ahead_s = time.time() + 3_600
    os.utime(service.path, (ahead_s, ahead_s))
    service.follow(order(exposure=0.5))
    service.follow(rollback())
    assert service.treated() == set()


def test_a_service_that_begins_while_the_file_is_replaced_sees_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider reads it, and asks then how old it is: what came between the two it would not look at again."""
    path = tmp_path / "flags.json"
    FlagdFile(path).apply(order(exposure=1.0))
    read = FileWatcher._load_data
    replaced = threading.Event()

    def overtaken(self: FileWatcher, modified_time: float | None = None) -> None:
        read(self, modified_time)
        if not replaced.is_set():
            replaced.set()
            FlagdFile(path).apply(rollback())
            self.last_modified = path.stat().st_mtime

    monkeypatch.setattr(FileWatcher, "_load_data", overtaken)
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=10, cache=None
    )
    api.set_provider_and_wait(provider, "overtaken")
    service = Service(path, api.get_client("overtaken"))
    assert service.ask("user-1").value == "small"
    deadline_s = time.monotonic() + WAIT_S
    while service.ask("user-1").value != "current":
        assert time.monotonic() < deadline_s, "the rollback was never seen"
        time.sleep(0.02)
    provider.shutdown()


def test_a_stopped_segment_gets_control_only_and_the_others_go_on(service: Service) -> None:
    service.follow(order(Action.STOP_SEGMENT, exposure=0.5, stopped_segments=(Segment("tenant", "acme"),)))
    assert service.treated(tenant="acme") == set()
    assert 2_300 < len(service.treated(tenant="zeta")) < 2_700
    assert service.treated() == service.treated(tenant="zeta")


def test_a_stopped_cross_needs_both_of_its_values(service: Service) -> None:
    cross = Segment("tenant×language", "acme×de")
    service.follow(order(Action.STOP_SEGMENT, exposure=0.5, stopped_segments=(cross, Segment("channel", "voice"))))
    assert service.treated(tenant="acme", language="de") == set()
    assert service.treated(channel="voice") == set()
    assert service.treated(tenant="acme", language="en")
    assert service.treated(tenant="zeta", language="de")


def test_a_segment_is_told_apart_where_the_context_holds_a_number(service: Service) -> None:
    service.follow(order(Action.STOP_SEGMENT, exposure=1.0, stopped_segments=(Segment("tenant", "42"),)))
    assert service.ask("user-1", tenant=42).variant == "current"
    assert service.ask("user-1", tenant=421).variant == "small"


def test_a_segment_that_cannot_be_told_apart_gives_everybody_control(service: Service) -> None:
    service.follow(order(Action.STOP_SEGMENT, exposure=1.0, stopped_segments=(Segment("tenant", "other"),)))
    assert service.ask("user-1", tenant="acme").variant == "current"


def test_where_consent_is_needed_neither_silence_nor_a_refusal_nor_a_text_is_consent(service: Service) -> None:
    """G3"""
    service.follow(order(exposure=1.0, needs_consent=True))
    assert service.ask("user-1", stoploss_consent=True).variant == "small"
    for unheard in ({}, {"stoploss_consent": False}, {"stoploss_consent": "true"}):
        assert service.ask("user-1", **unheard).variant == "current", unheard
    assert service.ask("user-1").flag_metadata["needs_consent"] is True
    service.follow(order(exposure=0.5, sequence=2, needs_consent=True))
    among_who_agreed = service.treated(stoploss_consent=True)
    service.follow(order(exposure=0.5, sequence=3))
    assert service.treated() == among_who_agreed


def test_a_request_without_a_targeting_key_gets_the_release_variant(service: Service) -> None:
    service.follow(order(exposure=0.5))
    assert service.ask("").variant == "current"


def test_flags_of_others_and_foreign_entries_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    foreign = {"state": "DISABLED", "variants": {"on": True}, "defaultVariant": "on"}
    document = {
        "$schema": "s",
        "$evaluators": {"e": {"==": [1, 1]}},
        "flags": {"foreign": foreign},
        "metadata": {"x": 1},
    }
    path.write_text(json.dumps(document))
    FlagdFile(path).apply(order())
    written = json.loads(path.read_text())
    assert written["flags"].pop("checkout-model")["state"] == "ENABLED"
    assert written == document


def test_values_that_services_expect_of_a_variant_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    existing = {"state": "ENABLED", "variants": {"small": {"model": "small-1"}, "older": {}}, "metadata": {"team": "x"}}
    path.write_text(json.dumps({"flags": {"checkout-model": existing}}))
    FlagdFile(path).apply(order())
    flag = json.loads(path.read_text())["flags"]["checkout-model"]
    assert flag["variants"] == {"current": "current", "small": {"model": "small-1"}, "older": {}}
    assert flag["metadata"]["team"] == "x"


def test_a_flag_that_serves_another_experiment_is_not_taken_from_it(tmp_path: Path) -> None:
    flags = FlagdFile(tmp_path / "flags.json")
    flags.apply(order(experiment="search"))
    with pytest.raises(CommandRefused, match=r"serves the experiment 'search' at exposure 0\.1"):
        flags.apply(order())
    flags.apply(rollback(experiment="search"))
    flags.apply(order())


@pytest.mark.parametrize("content", ["{broken", "[]", '{"flags": []}', '{"flags": {"a": 1}}', "\ufeff"])
def test_a_file_that_is_no_flag_file_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "flags.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"flags\.json is .* and is left as it is"):
        FlagdFile(path).apply(order())
    assert path.read_text() == content


def test_services_of_other_users_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    FlagdFile(path).apply(order())
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_missing_directory_is_an_error_of_the_system_not_a_silence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FlagdFile(tmp_path / "gone" / "flags.json").apply(order())

"""Status from the registry: the last word of each experiment, whatever its spec."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoploss import registry
from stoploss.commands import Segment
from stoploss.errors import WireError
from stoploss.policy.file import parse_policy
from stoploss.registry import RegistryEntry
from stoploss.review.overview import in_force, status_of
from tests.governance.institution import LENIENT
from tests.review.rows import NOW
from tests.timelines import SPEC, spec

TODAY = NOW.date()
MICROS = int(NOW.timestamp()) * 1_000_000
ENTRY = RegistryEntry("checkout", 3, SPEC, "5f" * 32, "running", 1, 1, 1, "current", 0.5, (), None, MICROS, 7)


def record(entry: RegistryEntry) -> tuple[bytes, bytes]:
    return entry.experiment.encode(), registry.encode(entry)


def test_the_last_entry_of_each_experiment_counts_and_they_come_by_name() -> None:
    stopped = replace(ENTRY, lifecycle="stopped", exposure=0.0)
    found = in_force([record(ENTRY), record(replace(ENTRY, experiment="basket")), record(stopped)])
    assert [(entry.experiment, entry.lifecycle) for entry in found] == [("basket", "running"), ("checkout", "stopped")]


def test_a_tombstone_removes_the_experiment() -> None:
    assert in_force([record(ENTRY), (b"checkout", None)]) == []


def test_an_entry_that_is_no_registry_entry_is_refused() -> None:
    with pytest.raises(WireError):
        in_force([(b"checkout", b"not Avro")])


def test_status_says_what_of_the_spec_is_not_enforced() -> None:
    asked = spec("approvals: {required: 2}")
    shown = status_of(replace(ENTRY, spec=asked, stopped_segments=(Segment("tenant", "acme"),)), TODAY)
    assert shown.not_enforced == ("approvals (without a policy in force)",)
    assert status_of(replace(ENTRY, spec=asked), TODAY, parse_policy(LENIENT)).not_enforced == ()
    assert shown.stopped_segments == ("tenant=acme",)
    assert shown.changed_at == NOW


def test_status_counts_from_the_first_harmful_trace_to_the_last_exposure() -> None:
    times = {"first_harm_at": MICROS, "last_exposure_at": MICROS + 7_250_000}
    shown = status_of(replace(ENTRY, in_flight=3, after_stop=2, **times), TODAY)
    assert (shown.in_flight, shown.after_stop, shown.harm_to_last_s) == (3, 2, 7.25)
    assert status_of(ENTRY, TODAY).harm_to_last_s is None


def test_a_spec_of_another_version_does_not_hide_the_experiment() -> None:
    shown = status_of(replace(ENTRY, spec="kind: Experiment\nfromTheFuture: true"), TODAY)
    assert (shown.lifecycle, shown.not_enforced) == ("running", None)
    assert "fromTheFuture" in str(shown.spec_fault)

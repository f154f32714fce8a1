from __future__ import annotations

import dataclasses

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.intake.watched import Watched
from stoploss.registry import RegistryEntry
from tests.intake.records import NAME, SPEC, declaring, experiment

ENTRY = RegistryEntry(
    experiment=NAME,
    partition=5,
    spec=SPEC.replace("UNIT", "user"),
    spec_hash="abc",
    lifecycle="running",
    run=1,
    epoch=1,
    sequence=1,
    release_variant="small",
    exposure=0.1,
    stopped_segments=(),
    command_id=None,
    changed_at=0,
    offset=0,
)


def test_every_metric_that_the_spec_names_is_a_column_and_logs_stand_beside_their_metric() -> None:
    plan = {one.column: one.unit for one in Watched.of(experiment(), 0).metrics}
    assert plan == {
        "latency_ms": "us",
        "error_rate": "0 or 1",
        "cost_usd": "nano-usd",
        "output_tokens": "tokens",
        "pii_suspected_rate": "0 or 1",
        "input_tokens": "tokens",
        "resolved": "1e-6 points",
        "helpfulness": "1e-6 points",
        "latency_ms:log": "1e-6 ln(ms)",
    }


def test_events_of_the_objective_and_scores_of_health_rules_are_columns_where_they_are_metrics() -> None:
    """D3: an event that nobody measures would never be a risk."""
    [watched] = declaring(
        """
objective:
  quality: {score: helpfulness}
  risk: [{event: refusal, weight: 1}, {event: denied_tool, weight: 2}, {event: complaint, weight: 5}]
health: {alignment: {proxy: reasoning_tokens, outcome: resolved}}
"""
    ).values()
    columns = {plan.column for plan in watched.metrics}
    assert {"refusal_rate", "denied_tool_rate", "complaint", "reasoning_tokens", "resolved"} <= columns


def test_gates_stand_in_the_order_of_their_bits() -> None:
    watched = Watched.of(experiment(), 0)
    assert watched.gates == tuple(choice.gate for choice in experiment().gates)
    assert watched.gates[:3] == ("pii_exposed", "privilege_escalation", "unapproved_side_effect")


def test_a_registry_entry_gives_the_hash_and_partition_that_were_registered() -> None:
    watched = Watched.from_entry(ENTRY)
    assert (watched.name, watched.partition, watched.spec_hash) == (NAME, 5, "abc")


def test_an_entry_whose_spec_this_version_cannot_read_is_refused_by_name() -> None:
    with pytest.raises(InvalidExperiment, match=f"the registry's spec of {NAME}"):
        Watched.from_entry(dataclasses.replace(ENTRY, spec="kind: Other"))

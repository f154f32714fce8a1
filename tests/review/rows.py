"""Hand-made rows of the store: each with what a test does not care about filled in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stoploss.experiment import Experiment
from stoploss.spec.file import parse_experiment
from stoploss.store.rows import (
    Arm,
    CommandAck,
    CommandWithAcks,
    ExposuresAfterStop,
    PublishedCommand,
    RuleVerdict,
    Status,
    TimelineEntry,
)
from tests.timelines import spec

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
NAME = "checkout"


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def experiment(extra: str = "") -> Experiment:
    return parse_experiment(spec(extra))


GUARDED = """
segments: [tenant]
guardrails:
  - {metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, action: pause}
  - {metric: helpfulness, direction: higher, margin: {absolute: 0.02}}
  - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance, action: pause}
scores: [helpfulness]
"""

_STATUS = Status(NAME, "running", 1, 1, 1, "current", 0.5, [], None, NOW, "5f" * 32, 0)
_ENTRY = TimelineEntry(
    number=0,
    at=NOW,
    run=1,
    epoch=1,
    kind="finding",
    verdict=None,
    severity=None,
    rule=None,
    metric=None,
    segment_dimension=None,
    segment_value=None,
    sentence="",
    observed=None,
    bound=None,
    estimate=None,
    lower=None,
    upper=None,
    margin=None,
    n_control=None,
    n_treatment=None,
    command_id=None,
    conclusion="{}",
    entry_id="",
    ledger_partition=0,
    ledger_offset=0,
)
_VERDICT = RuleVerdict(
    at=NOW,
    run=1,
    epoch=1,
    rule="guardrail[0]",
    metric="latency_ms",
    segment_dimension=None,
    segment_value=None,
    verdict="undecided",
    reason="evidence_between",
    observed=1.2,
    bound=4.6,
    estimate=0.05,
    lower=-0.02,
    upper=0.12,
    margin=0.15,
    n_control=1_200,
    n_treatment=1_300,
    missing="",
    hidden=False,
)
_ARM = Arm(NOW, 1, 1, "current", None, None, "latency_ms", 1_200, 500.0, 50.0, 480.0, 900.0, 990.0, False)
_COMMAND = PublishedCommand(
    command_id="c-1",
    run=1,
    epoch=2,
    sequence=2,
    action="rollback",
    release_variant="current",
    exposure=0.0,
    stopped_segments=[],
    reason="too slow",
    rule=None,
    metric=None,
    segment_dimension=None,
    segment_value=None,
    observed=None,
    bound=None,
    n_control=None,
    n_treatment=None,
    decided_at=at(10),
    dry_run=False,
    controllers=["flagd"],
    times_sent=1,
)


def status(**changes: Any) -> Status:
    return replace(_STATUS, **changes)


def entry(kind: str, number: int, conclusion: dict[str, Any] | None = None, **changes: Any) -> TimelineEntry:
    """A journal entry; the ledger entry that led to it has its number, unless another is given."""
    given = {"ledger_offset": number, "entry_id": f"entry-{number}", "at": at(number), **changes}
    return replace(_ENTRY, kind=kind, number=number, conclusion=json.dumps(conclusion or {}), **given)


def finding(number: int, **changes: Any) -> TimelineEntry:
    """A breach of the guardrail on latency for everybody."""
    given = {
        "verdict": "breach",
        "severity": "page",
        "rule": "guardrail",
        "metric": "latency_ms",
        "sentence": "latency_ms is worse than allowed",
        "observed": 6.0,
        "bound": 4.6,
        "lower": 0.16,
        "upper": 0.26,
        "margin": 0.15,
        "n_control": 700,
        "n_treatment": 650,
        **changes,
    }
    return entry("finding", number, **given)


def issued(number: int, command_id: str = "c-1", action: str = "rollback", **changes: Any) -> TimelineEntry:
    said = {
        "command_id": command_id,
        "action": action,
        "sequence": number,
        "release_variant": "current",
        "exposure": 0.0,
        "reason": f"{action} 'checkout': latency_ms is worse than allowed",
    }
    return entry("command_issued", number, said, command_id=command_id, **changes)


def asked(number: int, action: str, accepted: bool = True, **changes: Any) -> TimelineEntry:
    said = {"request_id": f"r-{number}", "action": action, "by": "ada", "accepted": accepted, "reason": "as asked"}
    return entry("request_handled", number, said, **changes)


def verdict(**changes: Any) -> RuleVerdict:
    return replace(_VERDICT, **changes)


def arm(**changes: Any) -> Arm:
    return replace(_ARM, **changes)


def published(acks: tuple[CommandAck, ...] = (), **changes: Any) -> CommandWithAcks:
    return CommandWithAcks(replace(_COMMAND, **changes), acks)


def ack(state: str, seconds: float, command_id: str = "c-1", controller: str = "flagd") -> CommandAck:
    return CommandAck(command_id, controller, "one", state, "", at(seconds))


def served(in_flight: int, after_stop: int, command_id: str = "c-1") -> ExposuresAfterStop:
    return ExposuresAfterStop(command_id, in_flight, after_stop, at(8), at(10), at(11) if after_stop else None)

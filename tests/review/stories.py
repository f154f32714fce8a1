"""A judged experiment as the records that a recorder would read: what the real judge made of a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from stoploss import ledger
from stoploss.outputs import JournalOutput, MeasureOutput, Output, RegistryOutput
from stoploss.store.stored import Stored
from stoploss.wire import records
from tests.timelines import SPEC, Timeline, merged, spec, traces, with_gate

SIGNATURE = b"keyid=0a1b2c3d;ed25519=" + b"A" * 86 + b"=="
EXPERIMENT = "checkout"
WATCHED = spec(
    """
segments: [tenant]
guardrails:
  - {metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 9.0}, transform: exceedance, action: rollback}
  - {metric: error_rate, direction: lower, margin: {relative: 0.10}, action: rollback}
approvals: {required: 1}
""",
    SPEC.replace("control: current}", "control: current, controllers: [flagd]}"),
)


RAMPED = spec(
    """
windows:
  - {days: Mon-Sun, from: "12:00", to: "12:01", timezone: UTC}
  - {days: Mon-Sun, from: "12:02", to: "12:10", timezone: UTC}
safeShare: 0.05
approvals: {required: 1}
""",
    SPEC.replace(
        "{stages: [0.5]}",
        "{stages: [0.1, {share: 0.3, minUnits: 5000}, 0.6], minDuration: 10s, minUnits: 50, autoAdvance: true, "
        "extend: 15s}",
    ),
)

# Far ahead, so that no TTL ever removes what a test is about to read.
BEGIN = int(datetime(2100, 1, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000


def _started(text: str = WATCHED) -> Timeline:
    story = Timeline(text)
    story.at = BEGIN
    return story.started()


def slowed() -> Timeline:
    """Healthy traffic, then a slow treatment; it is rolled back, the controller acks, and a few requests still end."""
    story = _started()
    for step in range(4):
        story.traces(traces(1_500, seed=step, tenant="acme"))
        story.traces(traces(8, seed=90 + step, tenant="tiny"))
        story.seconds(3)
    for step in range(4, 40):
        story.traces(traces(500, seed=step, latency_ms=(500.0, 900.0), tenant="acme"))
        if story.commands[-1].action == "rollback":
            break
        story.seconds(3)
    return _answered(story)


def leaked() -> Timeline:
    """A trace of the treatment holds a card number: stopped at once."""
    story = _started()
    story.traces(traces(600, seed=1, tenant="acme"))
    story.seconds(11)
    some = traces(20, seed=2, tenant="acme")
    story.traces(with_gate(some, int(some.variant.argmax()), 0))
    return _answered(story)


def ramped() -> Timeline:
    """One stage is passed, the next lacks units and is held; the window closes, the next opens, a person goes on."""
    story = _started(RAMPED)
    for second in range(130):
        share = story.it.desired.exposure
        story.traces(traces(100, seed=second, users=2_000, share=share))
        story.seconds(1)
    story.ask("ramp", 0.6, by="olga", reason="we have seen enough")
    story.seconds(2)
    return story


def _answered(story: Timeline) -> Timeline:
    story.at += 40_000
    story.ack("flagd", "received")
    story.at += 12_000
    story.ack("flagd", "applied")
    story.traces(merged(traces(6, seed=7, tenant="acme"), traces(6, seed=8, tenant="acme")))
    story.seconds(4)
    return story


def streams_of(story: Timeline, partition: int = 0) -> dict[str, list[Stored]]:
    """All records of a story by stream, each at its place."""
    facts = [(entry.at, ledger.encode(entry.fact)) for entry in story.entries]
    return {
        "ledger": _stored("ledger", facts, partition),
        "journal": _stored("journal", _values(story.outputs, JournalOutput), partition),
        "measures": _stored("measures", _values(story.outputs, MeasureOutput), partition),
        "registry": _stored("registry", _values(story.outputs, RegistryOutput), partition),
        "control": _stored(
            "control",
            [(command.decided_at, records.encode("command", command)) for command in story.commands],
            partition,
            headers=(("stoploss-signature", SIGNATURE),),
        ),
    }


Written = JournalOutput | MeasureOutput | RegistryOutput


def _values(outputs: Sequence[Output], kind: type[Written]) -> list[tuple[int, bytes]]:
    return [(0, output.value) for output in outputs if isinstance(output, kind)]


def _stored(
    topic: str,
    values: Sequence[tuple[int, bytes]],
    partition: int,
    headers: tuple[tuple[str, bytes], ...] = (),
) -> list[Stored]:
    return [
        Stored(
            f"stoploss.{topic}",
            f"uuid-of-{topic}",
            partition,
            offset,
            at // 1_000,
            EXPERIMENT.encode(),
            value,
            headers,
        )
        for offset, (at, value) in enumerate(values)
    ]

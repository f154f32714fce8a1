"""The stories that golden ledgers tell. What they write depends on their seeds alone, never on what the judge says."""

from __future__ import annotations

from collections.abc import Callable

from tests.timelines import Timeline, Traces, merged, of_arm, shuffled, spec, traces, with_gate

LATENCY = ("latency_ms", "latency_ms:log")
ERRORS = ("error_rate",)
OBEYED = 5
"""Second from which nobody gets what was stopped before it."""


def only(some: Traces, columns: tuple[str, ...]) -> Traces:
    """The traces with a few of their metrics: a golden ledger is small."""
    kept = {name: some.metrics[name] for name in columns}
    return Traces(some.variant, some.unit, kept, some.segments, some.gates, some.details)


def gate() -> Timeline:
    """A card number in an answer of the treatment; afterwards control serves everybody."""
    story = Timeline(spec("gates: [undeclared_tool]")).started()
    story.seconds(1)
    story.traces(only(traces(300, seed=1), ERRORS))
    story.seconds(2)
    some = only(traces(20, seed=2), ERRORS)
    story.traces(with_gate(some, int(some.variant.argmax()), 0))
    story.seconds(1)
    story.traces(only(of_arm(traces(24, seed=3), 0), ERRORS))
    story.seconds(4)
    return story


def slow_treatment() -> Timeline:
    """The treatment is twice as slow for everybody: its guardrail rolls back."""
    guardrails = """
      guardrails:
        - {metric: latency_ms, direction: lower, margin: {relative: 0.10}, transform: log}
        - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance}
    """
    story = Timeline(spec(guardrails)).started()
    for second in range(8):
        story.seconds(1)
        some = traces(350, seed=10 + second, users=5_000, latency_ms=(500.0, 1_000.0))
        story.traces(only(some if second < OBEYED else of_arm(some, 0), LATENCY), block_rows=175)
    story.seconds(4)
    return story


def broken_tenant() -> Timeline:
    """Nearly every request of one tenant fails in the treatment: that tenant is stopped, the others go on."""
    guardrail = "{metric: error_rate, direction: lower, margin: {relative: 0.50}, action: rollback}"
    story = Timeline(spec(f"segments: [tenant]\nguardrails: [{guardrail}]")).started()
    for second in range(8):
        story.seconds(1)
        broken = traces(80, seed=30 + second, users=900, population=1, error_rate=(0.2, 0.9), tenant="acme")
        broken = broken if second < OBEYED else of_arm(broken, 0)
        sound = traces(500, seed=50 + second, users=20_000, error_rate=(0.2, 0.2), tenant="zeta")
        story.traces(only(shuffled(merged(broken, sound), second), ERRORS), block_rows=290)
    story.seconds(4)
    return story


def quiet() -> Timeline:
    """An A/A run: the arms are alike, and nobody says anything."""
    guardrails = """
      guardrails:
        - {metric: latency_ms, direction: lower, margin: {relative: 0.10}, transform: log}
        - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance}
        - {metric: error_rate, direction: lower, margin: {relative: 0.10}}
    """
    story = Timeline(spec(guardrails)).started()
    for second in range(8):
        story.seconds(1)
        story.traces(only(traces(300, seed=70 + second, users=5_000), (*LATENCY, *ERRORS)), block_rows=150)
    story.seconds(4)
    return story


STORIES: dict[str, Callable[[], Timeline]] = {
    story.__name__: story for story in (gate, slow_treatment, broken_tenant, quiet)
}

"""The stories that golden ledgers tell. What they write depends on their seeds alone, never on what the judge says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stoploss.metrics import MISSING
from tests.timelines import Timeline, Traces, merged, of_arm, shuffled, spec, traces, with_gate

LATENCY = ("latency_ms", "latency_ms:log")
ERRORS = ("error_rate",)
OBEYED = 5
"""Second from which nobody gets what was stopped before it."""


def old(text: str) -> Timeline:
    """With requests as registrars wrote them when these ledgers were: without an edition."""
    return Timeline(text, edition=None)


def newer(text: str) -> Timeline:
    """With requests of the first edition."""
    return Timeline(text, edition=1)


def only(some: Traces, columns: tuple[str, ...]) -> Traces:
    """The traces with a few of their metrics: a golden ledger is small."""
    kept = {name: some.metrics[name] for name in columns}
    return Traces(some.variant, some.unit, kept, some.segments, some.gates, some.details)


def gate() -> Timeline:
    """A card number in an answer of the treatment; afterwards control serves everybody."""
    story = old(spec("gates: [undeclared_tool]")).started()
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
    story = old(spec(guardrails)).started()
    for second in range(8):
        story.seconds(1)
        some = traces(350, seed=10 + second, users=5_000, latency_ms=(500.0, 1_000.0))
        story.traces(only(some if second < OBEYED else of_arm(some, 0), LATENCY), block_rows=175)
    story.seconds(4)
    return story


def broken_tenant() -> Timeline:
    """Nearly every request of one tenant fails in the treatment: that tenant is stopped, the others go on."""
    guardrail = "{metric: error_rate, direction: lower, margin: {relative: 0.50}, action: rollback}"
    story = old(spec(f"segments: [tenant]\nguardrails: [{guardrail}]")).started()
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
    story = old(spec(guardrails)).started()
    for second in range(8):
        story.seconds(1)
        story.traces(only(traces(300, seed=70 + second, users=5_000), (*LATENCY, *ERRORS)), block_rows=150)
    story.seconds(4)
    return story


def spent() -> Timeline:
    """Control does not say what it costs; then the treatment burns its budget: less traffic, then a pause."""
    budget = """
      budgets:
        - {metric: cost_usd, limit: 20, period: 1h, actions: [{burn: 2, do: throttle, to: 0.01}, {burn: 20, do: pause}]}
    """
    story = newer(spec(budget)).started()
    for second in range(20):
        story.seconds(1)
        cost_usd = 0.002 if second < 10 else 0.05
        some = only(traces(60, seed=100 + second, cost_usd=cost_usd, error_rate=(0.0, 0.0)), ("cost_usd", *ERRORS))
        some.metrics["cost_usd"][some.variant == 0] = MISSING
        story.traces(some if second < 14 else of_arm(some, 0))
    story.seconds(2)
    return story


def unbalanced() -> Timeline:
    """Four units in five come to a treatment that should get half of them."""
    story = newer(spec("health: {sampleRatio: hold}")).started(0.5)
    for second in range(12):
        story.seconds(1)
        some = traces(100, seed=200 + second, users=5_000, population=second, share=0.8)
        story.traces(only(some, ERRORS))
    story.seconds(65)
    return story


def moved() -> Timeline:
    """The treatment's answers grow longer, and come in another language: both drift, and one of the two pauses."""
    drift = "drift: [{metric: output_tokens, action: pause}, {mix: language, action: none}]"
    story = newer(spec(f"segments: [language]\n{drift}")).started()
    for second in range(40):
        story.seconds(1)
        later = second >= 20
        some = traces(100, seed=300 + second, users=40_000, tokens=(225, 350 if later else 225), language="en")
        if later:
            some.segments["language"] = ["de" if row % 2 and arm else "en" for row, arm in enumerate(some.variant)]
        story.traces(only(some, ("output_tokens",)))
    story.seconds(3)
    return story


def unseen() -> Timeline:
    """Nobody sends anything for a while; later intake falls behind for so long that the monitor pauses by itself."""
    blind = "blind: {hold: 8s, after: 15s, then: pause, lagLimit: 100}"
    story = newer(spec(f"health: {{silence: {{after: 5s, do: hold}}, {blind}}}")).started()
    for seed in (400, 401):
        story.seconds(1)
        story.traces(only(traces(60, seed=seed), ERRORS))
        story.seconds(8)
    story.seconds(20, lag=5_000)
    story.seconds(2)
    return story


def weighed() -> Timeline:
    """The treatment resolves twice as many cases at the same cost: the objective says better; evidence is missing."""
    objective = "objective: {quality: {score: resolved, closesAfter: 8s}, lambdaCost: 0.2}\nscores: [resolved]"
    story = newer(spec(objective)).started()
    for second in range(30):
        story.seconds(1)
        some = traces(120, seed=500 + second, users=60_000, error_rate=(0.0, 0.0))
        drawn = np.random.default_rng(600 + second).random(some.rows)
        some.metrics["resolved"] = np.where(drawn < np.array([0.4, 0.8])[some.variant], 1_000_000, 0)
        story.traces(only(some, ("cost_usd", "resolved")))
    story.seconds(20)
    return story


STORIES: dict[str, Callable[[], Timeline]] = {
    story.__name__: story
    for story in (
        gate,
        slow_treatment,
        broken_tenant,
        quiet,
        spent,
        unbalanced,
        moved,
        unseen,
        weighed,
    )
}

"""What nobody counts is said: an arm whose requests do not tell what they cost must not look cheap."""

from __future__ import annotations

import numpy as np
import pytest

from stoploss.metrics import MISSING
from stoploss.rules import rules_of
from stoploss.rules.uncounted import Uncounted
from stoploss.spec.file import parse_experiment
from tests.timelines import Timeline, Traces, actions, spec, traces

BUDGET = "budgets: [{metric: cost_usd, limit: 5000, period: 24h, actions: [{burn: 6, do: pause}]}]"
TREATMENT = 1


def without_cost(seed: int, share: float, arm: int | None = TREATMENT, **given: float) -> Traces:
    """A hundred traces, of which that share of an arm (None: of both) does not say its cost."""
    some = traces(100, seed=seed, error_rate=(given.get("errors", 0.0),) * 2)
    lost = np.random.default_rng(seed).random(some.rows) < share
    if arm is not None:
        lost &= some.variant == arm
    if "errors" in given:
        lost &= some.metrics["error_rate"] == 1
    some.metrics["cost_usd"][lost] = MISSING
    return some


def run(share: float, extra: str = BUDGET, arm: int | None = TREATMENT, **given: float) -> Timeline:
    timeline = Timeline(spec(extra)).started()
    for second in range(40):
        timeline.traces(without_cost(second, share, arm, **given))
        timeline.seconds(1)
    return timeline


def found(timeline: Timeline) -> list[str]:
    return [finding.sentence for finding in timeline.breaches if finding.reason == "spent_uncounted"]


def test_a_model_without_a_price_is_a_finding_that_holds_the_ramp_and_orders_nothing() -> None:
    timeline = run(share=1.0)
    [sentence] = found(timeline)
    assert "requests of the treatment arm without cost_usd: 100.0 %" in sentence
    assert "no budget or guardrail sees what they spent" in sentence
    assert timeline.it.lifecycle == "holding"
    assert actions(timeline) == ["set_exposure"]


def test_each_arm_is_told_by_itself() -> None:
    sentences = found(run(share=0.3, arm=None))
    assert sorted(sentence.split(" arm ")[0].split()[-1] for sentence in sentences) == ["control", "treatment"]


@pytest.mark.parametrize("share", [0.0, 0.03])
def test_a_few_requests_without_a_cost_are_nothing(share: float) -> None:
    assert found(run(share)) == []


def test_requests_that_failed_need_not_say_what_they_cost() -> None:
    assert found(run(share=1.0, arm=None, errors=0.4)) == []


@pytest.mark.parametrize(
    "extra",
    [
        "guardrails: [{metric: latency_ms, direction: lower, margin: {relative: 0.1}}]",
        "budgets: [{slo: {metric: latency_ms, threshold: 20000, target: 0.99}, period: 30d,"
        " actions: [{burn: 14.4, do: pause}]}]",
    ],
)
def test_who_watches_no_spending_is_not_asked_for_it(extra: str) -> None:
    assert found(run(share=1.0, extra=extra)) == []
    assert "uncounted" not in {rule.key for rule in rules_of(parse_experiment(spec(extra)))}


@pytest.mark.parametrize(
    ("extra", "metrics"),
    [
        ("guardrails: [{metric: cost_usd, direction: lower, margin: {relative: 0.1}}]", {"cost_usd"}),
        ("guardrails: [{metric: output_tokens, direction: lower, margin: {relative: 0.1}}]", {"output_tokens"}),
        (
            "budgets: [{metric: input_tokens, limit: 5000, period: 24h, actions: [{burn: 6, do: pause}]}]",
            {"input_tokens"},
        ),
        ("objective: {quality: {score: resolved}, lambdaCost: 0.2}", {"cost_usd"}),
        ("objective: {quality: {score: resolved}, lambdaCost: 0}", set()),
    ],
)
def test_guardrails_budgets_and_objectives_on_what_is_spent_are_covered(extra: str, metrics: set[str]) -> None:
    rules = rules_of(parse_experiment(spec(extra)))
    assert {name for rule in rules if isinstance(rule, Uncounted) for name in rule.metrics} == metrics

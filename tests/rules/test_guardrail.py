from __future__ import annotations

import math

import numpy as np
import pytest

from stoploss.commands import Action
from stoploss.folding import moment_of
from stoploss.journal import Finding
from stoploss.lifecycle import Lifecycle
from stoploss.measures import VerdictMeasure
from stoploss.rules import rules_of
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.rows import Asked
from stoploss.sentences import sentence
from tests.timelines import Timeline, Traces, actions, merged, of_arm, run, spec, traces

# Beside it the tail that the logarithm hides, where no request of these tests ever is.
LATENCY = (
    "guardrails: [{metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, action: pause}, "
    "{metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance, threshold: 59000}]"
)
PLAIN = "guardrails: [{metric: latency_ms, direction: lower, margin: {absolute: 50}, action: rollback}]"
SCORE = "guardrails: [{metric: resolved, direction: higher, margin: {absolute: 0.02}, action: rollback}]"
MORE = "guardrails: [{metric: cached_tokens, direction: higher, margin: {relative: 0.10}, action: stop}]"


def slower(by: float, seconds: int = 10, users: int = 20_000) -> list[Traces]:
    """Without errors: a failure would count as the service timeout."""
    slow = (500.0, 500.0 * by)
    return [traces(1_000, seed=s, users=users, latency_ms=slow, error_rate=(0, 0)) for s in range(seconds)]


def with_metric(name: str, control: float, treatment: float, seconds: int = 10, scale: int = 1_000_000) -> list[Traces]:
    parts = []
    for second in range(seconds):
        some = traces(1_000, seed=second, users=20_000)
        noise = np.random.default_rng(500 + second).normal(0, 0.1, some.rows)
        values = np.where(some.variant == 1, treatment, control) * (1 + noise)
        some.metrics[name] = np.rint(values * scale).astype(np.int64)
        parts.append(some)
    return parts


def last(timeline: Timeline) -> VerdictMeasure:
    timeline.seconds(10)
    return next(v for v in reversed(timeline.measures()[-1].verdicts) if v.rule == "guardrail[0]" and v.segment is None)


def test_a_harmed_metric_breaches_with_both_numbers_and_how_much_stands_behind_them() -> None:
    timeline = run(spec(LATENCY), slower(by=1.5))
    [finding] = timeline.breaches
    evidence = finding.evidence
    assert actions(timeline) == ["set_exposure", "pause"]
    assert (evidence.rule, evidence.metric, evidence.margin) == ("guardrail", "latency_ms", 0.15)
    assert evidence.control == pytest.approx(500, rel=0.1)
    assert evidence.treatment == pytest.approx(750, rel=0.1)
    assert evidence.bound == pytest.approx(math.log(1 / 0.01))
    assert evidence.observed is not None
    assert evidence.observed >= math.log(1 / 0.01)
    assert evidence.lower is not None
    assert evidence.upper is not None
    assert 0.15 < evidence.lower < 0.5 < evidence.upper
    assert min(evidence.n_control, evidence.n_treatment) > 200
    assert min(evidence.units_control, evidence.units_treatment) >= 200


def test_the_sentence_of_a_breach_has_the_numbers_a_tired_person_needs() -> None:
    timeline = run(spec(LATENCY), slower(by=1.5))
    sentence = timeline.breaches[0].sentence
    for words in (
        "latency_ms is worse than allowed:",
        "with 'small' against",
        "with 'current'",
        "margin 15.0 %",
        "traces",
    ):
        assert words in sentence
    assert timeline.commands[-1].reason == f"pause 'checkout': {sentence}"


@pytest.mark.parametrize(
    ("text", "parts", "action"),
    [
        (PLAIN, slower(by=1.5), "rollback"),
        (SCORE, with_metric("resolved", 0.7, 0.6), "rollback"),
        (MORE, with_metric("cached_tokens", 100, 80, scale=1), "stop"),
    ],
    ids=["absolute", "a score that falls", "relative, higher is better"],
)
def test_every_kind_of_margin_and_direction_finds_its_harm(text: str, parts: list[Traces], action: str) -> None:
    assert actions(run(spec(text), parts)) == ["set_exposure", action]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (LATENCY, slower(by=1 / 1.5)),
        (PLAIN, slower(by=1 / 1.5)),
        (SCORE, with_metric("resolved", 0.6, 0.7)),
        (MORE, with_metric("cached_tokens", 80, 100, scale=1)),
    ],
    ids=["relative log", "absolute", "a score that rises", "relative, higher is better"],
)
def test_a_change_for_the_better_is_safe_whatever_the_margin(text: str, parts: list[Traces]) -> None:
    timeline = run(spec(text), parts)
    assert actions(timeline) == ["set_exposure"]
    assert [f.verdict for f in timeline.findings] == ["safe"]
    evidence = timeline.findings[0].evidence
    assert evidence.statistic == "log e of safety"
    assert evidence.observed is not None
    assert evidence.bound is not None
    assert evidence.observed >= evidence.bound


@pytest.mark.parametrize(
    ("text", "margin", "parts"),
    [
        (LATENCY, (0.05, 0.6), slower(by=1.3, seconds=15)),
        (PLAIN, (20, 500), slower(by=1.3, seconds=15)),
        (SCORE, (0.01, 0.3), with_metric("resolved", 0.7, 0.6)),
        (MORE, (0.05, 0.4), with_metric("cached_tokens", 100, 80, scale=1)),
    ],
    ids=["relative log", "absolute", "score", "relative, higher is better"],
)
def test_the_same_harm_is_a_breach_beyond_the_margin_and_safe_within_it(
    text: str, margin: tuple[float, float], parts: list[Traces]
) -> None:
    kind = "relative" if "relative" in text else "absolute"
    before = text[text.index("margin: {") : text.index("}", text.index("margin: {")) + 1]
    small, large = (text.replace(before, f"margin: {{{kind}: {value}}}") for value in margin)
    assert [f.verdict for f in run(spec(small), parts).findings if f.evidence.rule == "guardrail"] == ["breach"]
    assert [f.verdict for f in run(spec(large), parts).findings] == ["safe"]


def test_few_units_are_undecided_however_gross_the_harm_and_it_is_said_what_is_missing() -> None:
    """70 users in each arm, each with many traces: the floor counts users."""
    timeline = run(spec(LATENCY), slower(by=3.0, seconds=3, users=140))
    assert timeline.findings == []
    verdict = last(timeline)
    assert (verdict.verdict, verdict.reason) == ("undecided", "below_floor")


def test_a_person_is_told_how_many_units_are_there_and_how_many_it_takes() -> None:
    """A verdict that falls back below its floor is news, and its sentence counts."""
    timeline = run(spec(LATENCY), slower(by=3.0, seconds=3, users=140))
    rule = next(rule for rule in rules_of(timeline.experiment) if rule.key == "guardrail[0]")
    moment = moment_of(timeline.it, timeline.at, caught_up=True, due=("",), asked=Asked.ALL)
    [verdict] = rule.judge(timeline.it.current.rules[rule.key], moment)
    assert verdict.floor is not None
    assert sentence(verdict, timeline.experiment) == (
        f"latency_ms is undecided: {verdict.floor.observed} of 200 units in the treatment arm"
    )
    assert 50 < verdict.floor.observed < 90


def test_no_effect_at_all_is_within_a_margin_in_time() -> None:
    timeline = run(spec(LATENCY), slower(by=1.0, seconds=12))
    assert [f.verdict for f in timeline.findings] == ["safe"]


def test_a_user_with_a_thousand_traces_counts_ten_of_them() -> None:
    timeline = Timeline(spec(LATENCY)).started()
    timeline.seconds(1)
    some = traces(1_000, seed=1, users=1)
    timeline.traces(some)
    totals = timeline.it.current.rules["guardrail[0]"].dimensions[""]  # type: ignore[union-attr]
    assert totals.shown_n.sum() == 10


def test_epochs_with_other_shares_and_levels_are_not_mixed() -> None:
    """Traffic triples its latency as the share grows from 10 % to 50 %: pooled, that would be a large effect."""
    calm = {"users": 30_000, "error_rate": (0.0, 0.0)}
    early = [traces(2_000, seed=s, share=0.1, **calm) for s in range(5)]
    late = [traces(2_000, seed=50 + s, share=0.5, latency_ms=(1_500.0, 1_500.0), **calm) for s in range(5)]
    text = spec(
        LATENCY
        + "\nbudgets: [{metric: cost_usd, limit: 1, period: 24h, actions: [{burn: 14.4, do: throttle, to: 0.4}]}]"
    )
    timeline = Timeline(text)
    timeline.ask("register")
    timeline.ask("start", exposure=0.5)
    for number, some in enumerate([*early, *late]):
        timeline.seconds(1)
        some.metrics["cost_usd"] *= 10_000 if number == 4 else 0
        timeline.traces(some, block_rows=2_000)
    timeline.seconds(1)
    assert actions(timeline) == ["set_exposure", "throttle"]
    assert [f.verdict for f in timeline.findings if f.evidence.rule == "guardrail"] in ([], ["safe"])
    assert timeline.it.epoch == 2


# ---- segments ------------------------------------------------------------------------------------

TENANTS = LATENCY.replace("pause", "rollback") + "\nsegments: [tenant]"


def one_harmed(second: int, by: float = 2.5) -> Traces:
    slow, none = (500.0, 500.0 * by), (0.0, 0.0)
    clean = traces(3_000, seed=40 + second, users=20_000, error_rate=none, tenant="zeta")
    harmed = traces(300, seed=80 + second, users=3_000, population=1, latency_ms=slow, error_rate=none, tenant="acme")
    return merged(clean, harmed)


def stopped_alone() -> Timeline:
    timeline = Timeline(spec(TENANTS)).started()
    for second in range(12):
        timeline.seconds(1)
        timeline.traces(one_harmed(second), block_rows=1_100)
        if len(timeline.commands) > 1:
            break
    timeline.seconds(1)
    return timeline


def test_a_tenant_harmed_alone_is_stopped_alone() -> None:
    timeline = stopped_alone()
    [_, command] = timeline.commands
    assert command.action == Action.STOP_SEGMENT
    assert [str(segment) for segment in command.stopped_segments] == ["tenant=acme"]
    assert (command.exposure, command.expires_at) == (0.5, None)
    assert command.evidence is not None
    assert str(command.evidence.segment) == "tenant=acme"
    assert "latency_ms for tenant=acme is worse than allowed" in command.reason
    assert timeline.it.lifecycle == Lifecycle.RUNNING


def test_a_stopped_tenant_leaves_both_arms_and_the_others_go_on_being_judged() -> None:
    timeline = stopped_alone()
    totals = timeline.it.current.rules["guardrail[0]"].dimensions  # type: ignore[union-attr]
    acme = timeline.it.current.dimensions["tenant"].cells["acme"]
    before = totals["tenant"].shown_n[:, acme].copy(), totals[""].shown_n.copy()
    after = one_harmed(30)
    timeline.traces(after, block_rows=1_100)
    timeline.seconds(1)
    assert (timeline.it.current.rules["guardrail[0]"].dimensions["tenant"].shown_n[:, acme] == before[0]).all()  # type: ignore[union-attr]
    grown = timeline.it.current.rules["guardrail[0]"].dimensions[""].shown_n - before[1]  # type: ignore[union-attr]
    assert 2_500 < grown.sum() <= 3_000
    for second in range(31, 50):
        timeline.seconds(1)
        timeline.traces(traces(3_000, seed=second, users=20_000, latency_ms=(500.0, 900.0), tenant="zeta"))
    assert timeline.it.lifecycle == Lifecycle.ROLLED_BACK


def test_a_segment_is_stopped_once() -> None:
    timeline = stopped_alone()
    for second in range(60, 66):
        timeline.traces(one_harmed(second, by=5.0), block_rows=1_100)
        timeline.seconds(1)
    assert actions(timeline).count("stop_segment") == 1


def test_two_guardrails_that_find_the_same_tenant_harmed_stop_it_once() -> None:
    twice = TENANTS.replace(
        "guardrails: [", "guardrails: [{metric: latency_ms, direction: lower, margin: {relative: 0.2}}, "
    )
    timeline = Timeline(spec(twice)).started()
    for second in range(12):
        timeline.seconds(1)
        timeline.traces(one_harmed(second, by=2.5), block_rows=1_100)
    timeline.seconds(1)
    tenants = [finding for finding in timeline.breaches if finding.evidence.segment is not None]
    assert {finding.evidence.margin for finding in tenants} == {0.2, 0.15}
    assert actions(timeline).count("stop_segment") == 1


def test_dozens_of_clean_tenants_raise_no_alarm() -> None:
    timeline = Timeline(spec(TENANTS)).started()
    for second in range(20):
        some = traces(2_000, seed=second, users=8_000)
        some.segments = {"tenant": [f"t{unit % 48}" for unit in (some.unit >> np.uint64(40)).tolist()]}
        timeline.seconds(1)
        timeline.traces(some, block_rows=2_000)
    assert len(timeline.it.current.dimensions["tenant"].cells) == 48
    assert actions(timeline) == ["set_exposure"]
    assert [f for f in timeline.said(Finding) if f.verdict == "breach"] == []


def test_the_budgets_of_all_segment_streams_add_up_to_no_more_than_that_of_everybody() -> None:
    timeline = Timeline(spec(LATENCY + "\nsegments: [tenant, language, tenant×language]"))
    plan = GuardrailPlan.of(timeline.experiment, 0, timeline.experiment.spec.guardrails[0])
    assert plan.alphas("", 1) == (0.01,)
    streams = [alpha for name in plan.dimensions[1:] for alpha in plan.alphas(name, 65)]
    assert len(streams) == 3 * 65
    assert 0.0095 < sum(streams) <= 0.01


def test_one_armed_blocks_are_as_good_as_mixed_ones() -> None:
    """Producers that key by variant fill each block with one arm."""
    mixed = run(spec(LATENCY), slower(by=1.5, seconds=3))
    parted = run(spec(LATENCY), [merged(of_arm(part, 0), of_arm(part, 1)) for part in slower(by=1.5, seconds=3)], 250)
    assert actions(mixed) == actions(parted) == ["set_exposure", "pause"]


def test_a_handful_of_failures_decides_nothing_and_it_is_said_what_is_missing() -> None:
    """A failure counts as the service timeout, a minute: six of them would carry the whole difference."""
    some = slower(by=1.0)
    for part, seconds in enumerate(some[:6]):
        seconds.metrics["error_rate"][:] = 0
        treated = np.flatnonzero(seconds.variant == 1)
        seconds.metrics["error_rate"][treated[part]] = 1
    for seconds in some[6:]:
        seconds.metrics["error_rate"][:] = 0
    shown = last(run(spec(PLAIN), some))
    assert (shown.verdict, shown.reason) == ("undecided", "below_floor")
    assert "groups of units that carry the difference" in shown.missing

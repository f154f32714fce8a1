"""D9: what is recommended, from verdicts alone and over whole timelines."""

from __future__ import annotations

import pytest

from stoploss.recommendation import Recommendation, recommend
from stoploss.rules.verdict import Outcome, Reason
from stoploss.spec.file import parse_experiment
from tests.rules.objectives import OBJECTIVE, Arms, begun, scored, with_reference
from tests.timelines import Timeline, actions, spec

GUARDED = """
segments: [tenant]
guardrails:
  - {metric: error_rate, direction: lower, margin: {relative: 3.0}, alpha: 0.05, action: rollback}
budgets:
  - {metric: cost_usd, limit: 100000, period: 24h, actions: [{burn: 14.4, do: stop}]}
  - {slo: {metric: latency_ms, threshold: 20000, target: 0.99}, period: 30d, actions: [{burn: 14.4, do: pause}]}
"""
EVALUATED = "evidence: {offline: {suite: checkout-answers, version: v12, passed: true, at: 2026-09-01}}\n"
WHOLE = OBJECTIVE + GUARDED + EVALUATED
COMPLETE = {
    "objective/utility": "better/utility_above_zero",
    "guardrail[0]/everybody": "safe/evidence_of_safety",
    "guardrail[0]/tenant=acme": "undecided/evidence_between",
    "gate/pii_exposed": "ok/no_event",
    "gate/pii_exposed in control": "ok/no_event",
    "budget[0]/burn 14.4": "ok/within_budget",
}


def recommended(text: str = WHOLE, without: str = "", **changed: str) -> Recommendation:
    verdicts = {**COMPLETE, **changed}
    return recommend(parse_experiment(spec(text)), {k: v for k, v in verdicts.items() if k != without})


def test_rollout_wants_all_four_kinds_of_evidence_and_none_against_it() -> None:
    assert recommended() == Recommendation(Outcome.ROLLOUT, Reason.EVIDENCE_COMPLETE, ())


def test_no_rollout_is_recommended_while_the_newest_results_on_its_own_cases_failed() -> None:
    """D9"""
    failed = "the newest results on the evaluation set 'leaks' failed (cases: 2 of v3, by small-2)"
    found = recommend(parse_experiment(spec(WHOLE)), COMPLETE, [failed])
    assert (found.word, found.why) == (Outcome.ITERATE, (failed,))


@pytest.mark.parametrize(
    ("found", "gap"),
    [
        (recommended(OBJECTIVE + GUARDED), "no offline evaluation is stated (spec.evidence.offline)"),
        (
            recommended(WHOLE.replace("passed: true", "passed: false")),
            "the offline evaluation checkout-answers v12 of 2026-09-01 did not pass",
        ),
        (recommended(without="objective/utility"), "production traces do not show a gain"),
        (
            recommended(WHOLE.replace("segments: [tenant]\n", "")),
            "no segments are declared, so harm to some users alone would not be seen",
        ),
        (
            recommended(**{"guardrail[0]/tenant=acme": "undecided/below_floor"}),
            "no segment has enough traces to be judged yet (of tenant)",
        ),
        (
            recommended(WHOLE.replace("metric: cost_usd", "metric: steps")),
            "no budget or guardrail watches cost (such as cost_usd)",
        ),
        (
            recommended(WHOLE.replace("metric: latency_ms", "metric: steps")),
            "no budget or guardrail watches latency (such as latency_ms)",
        ),
        (
            recommended(**{"guardrail[0]/everybody": "undecided/evidence_between"}),
            "the guardrail on error_rate is not shown to be safe yet",
        ),
        (
            recommended(**{"guardrail[0]/tenant=acme": "breach/evidence_above_limit"}),
            "the guardrail on error_rate for tenant=acme is in breach",
        ),
        (recommended(**{"budget[0]/burn 14.4": "breach/burning"}), "the budget on cost_usd (burn 14.4) is in breach"),
        (recommended(**{"sample_ratio/split": "breach/x"}), "sample ratio (split) is in breach"),
        (recommended(**{"gate/pii_exposed in control": "breach/first_event"}), "the gate pii_exposed in control is in"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_otherwise_iterate_and_the_gap_is_named(found: Recommendation, gap: str) -> None:
    assert found.word == Outcome.ITERATE
    assert len(found.why) == 1
    assert found.why[0].startswith(gap)


def test_what_is_equivalent_is_no_reason_to_change() -> None:
    found = recommended(**{"objective/utility": "equivalent/utility_within_indifference"})
    assert (found.word, found.reason) == (Outcome.ITERATE, Reason.UTILITY_WITHIN_INDIFFERENCE)
    assert found.why == ("production traces show no difference beyond the indifference of 0.005",)


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ("objective/utility", "worse/utility_below_zero"),
        ("guardrail[0]/everybody", "breach/evidence_above_limit"),
        ("regression[0]/everybody", "breach/regressed"),
        ("gate/pii_exposed", "breach/first_event"),
    ],
)
def test_rollback_waits_for_no_evidence(stream: str, said: str) -> None:
    """No offline evaluation, nothing else judged: shown harm is enough."""
    found = recommend(parse_experiment(spec(OBJECTIVE + GUARDED)), {stream: said})
    assert (found.word, found.reason) == (Outcome.ROLLBACK, Reason.HARM_SHOWN)
    assert len(found.why) == 1


# ---- over timelines ------------------------------------------------------------------------------


def run(text: str, arms: Arms, seconds: int = 5, **traffic: float) -> Timeline:
    timeline = with_reference(begun(text), arms)
    for number in range(seconds):
        timeline.seconds(1)
        some = scored(8_000, seed=number, arms=arms, users=30_000)
        some.segments["tenant"] = ["acme"] * some.rows
        timeline.traces(some, block_rows=4_000)
    timeline.seconds(1)
    return timeline


BETTER = Arms(resolved=(0.70, 0.80), cost_usd=(0.004, 0.002))


def words_of(timeline: Timeline) -> list[tuple[str, str]]:
    return [(f.verdict, f.reason) for f in timeline.findings if f.evidence.metric == "recommendation"]


def test_a_better_treatment_with_all_evidence_is_recommended_for_rollout_and_nothing_is_ordered() -> None:
    timeline = run(WHOLE, BETTER)
    assert words_of(timeline)[-1] == ("rollout", "evidence_complete")
    assert actions(timeline) == ["set_exposure"]
    assert timeline.registry()[-1].recommendation == "rollout"
    [said] = [finding.sentence for finding in timeline.findings if finding.verdict == "rollout"]
    for part in ("recommended: roll out", "worth +", "from quality +", "from cost +", "from risk", "lambdaCost"):
        assert part in said


def test_a_better_treatment_without_an_offline_evaluation_iterates_and_says_why() -> None:
    timeline = run(OBJECTIVE + GUARDED, BETTER)
    assert words_of(timeline)[-1] == ("iterate", "evidence_missing")
    last = [finding for finding in timeline.findings if finding.verdict == "iterate"][-1]
    assert last.sentence.startswith("recommended: iterate (no offline evaluation is stated")
    assert last.severity == "info"


def test_a_worse_treatment_is_recommended_for_rollback_and_people_decide() -> None:
    timeline = run(WHOLE, Arms(resolved=(0.70, 0.50)), seconds=3)
    assert words_of(timeline) == [("rollback", "harm_shown")]
    [finding] = [finding for finding in timeline.findings if finding.verdict == "rollback"]
    assert "the treatment is worth less than control" in finding.sentence
    assert finding.severity == "hold"
    assert actions(timeline) == ["set_exposure"]


def test_harm_that_rolls_back_recommends_it_in_the_same_entry() -> None:
    """Rollback never waits: no tick passes between."""
    timeline = with_reference(begun(WHOLE))
    harmed = scored(6_000, seed=1)
    harmed.metrics["error_rate"][:] = harmed.variant
    out = timeline.traces(harmed, block_rows=6_000)
    assert actions(timeline)[-1] == "rollback"
    assert [finding.verdict for finding in timeline.findings][-1] == "rollback"
    assert timeline.findings[-1].severity == "info"
    assert out


def test_the_recommendation_stands_in_the_measures_with_sum_terms_and_flips() -> None:
    text = OBJECTIVE.replace(", {event: complaint, weight: 5}", "") + GUARDED
    timeline = run(text, BETTER)
    timeline.seconds(10)
    [*_, last] = timeline.measures()
    told = {verdict.metric: verdict for verdict in last.verdicts if verdict.rule == "objective"}
    assert set(told) == {"utility", "quality", "cost", "risk", "lambda_cost", "lambda_risk", "recommendation"}
    assert told["recommendation"].verdict == "iterate"
    assert told["recommendation"].missing.startswith("no offline evaluation is stated")
    for name in ("utility", "quality", "cost", "risk", "recommendation"):
        assert None not in (told[name].lower, told[name].estimate, told[name].upper)

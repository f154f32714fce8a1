from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from stoploss import snapshot
from stoploss.counting import count
from stoploss.evidence import block_columns
from stoploss.folding import moment_of
from stoploss.intake.watched import Watched
from stoploss.metrics import MISSING
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.reading import REFERENCE, Reference, tail_threshold
from stoploss.rules.rows import Moment, Rows
from tests.timelines import SECRET, SPEC, Timeline, Traces, actions, run, spec, traces

CAPPED = "{metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: capped}"
TAIL = "{metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance}"
SCORE = "{metric: resolved, direction: higher, margin: {absolute: 0.02}}"
QUICK_TIMEOUT = SPEC.replace("control: current}", "control: current, serviceTimeout: 5s}")


def guarded(*guardrails: str, text: str = SPEC, more: str = "") -> str:
    return spec(f"guardrails: [{', '.join(guardrails)}]\n{more}", text)


def clean(seconds: int, first: int = 0, **changes: Any) -> list[Traces]:
    return [traces(2_500, seed=first + s, users=50_000, **{"error_rate": (0, 0), **changes}) for s in range(seconds)]


def reference_of(timeline: Timeline, index: int = 0) -> Reference:
    return timeline.it.current.rules[f"guardrail[{index}]"].reference  # type: ignore[union-attr]


def control_values(parts: list[Traces], column: str = "latency_ms") -> list[int]:
    return [v for part in parts for v in part.metrics[column][part.variant == 0].tolist()]


# ---- what is frozen ------------------------------------------------------------------------------


@pytest.mark.parametrize(("transform", "rank"), [("capped", 990), ("exceedance", 950)])
def test_the_limit_is_an_order_statistic_of_exactly_the_first_thousand_values_of_control(
    transform: str, rank: int
) -> None:
    rule = TAIL.replace("exceedance", transform)
    parts = clean(3)
    timeline = run(guarded(rule, *([TAIL.replace("0.50", "0.4")] if transform == "capped" else [])), parts)
    assert reference_of(timeline).limit == sorted(control_values(parts)[:REFERENCE])[rank - 1]


def test_a_score_of_which_more_is_better_has_its_tail_below() -> None:
    parts = with_score(clean(3), 0.0)
    timeline = run(
        guarded(SCORE.replace("absolute: 0.02", "relative: 0.5").replace("}}", "}, transform: exceedance}")), parts
    )
    assert reference_of(timeline).limit == sorted(control_values(parts, "resolved")[:REFERENCE])[50]


def test_the_rows_that_froze_it_are_in_no_test_and_those_of_the_next_second_are() -> None:
    parts = clean(3)
    timeline = run(guarded(TAIL, more="segments: [tenant]"), [with_tenant(part) for part in parts])
    totals = timeline.it.current.rules["guardrail[0]"].totals  # type: ignore[union-attr]
    tested = parts[1].rows + parts[2].rows
    assert reference_of(timeline).values.size == REFERENCE
    assert totals[""].shown_n.sum() == pytest.approx(tested, rel=0.01)
    assert totals["tenant"].shown_n.sum() == totals[""].shown_n.sum()


@pytest.mark.parametrize("block_rows", [61, 501, 2_500])
def test_where_blocks_are_cut_changes_neither_what_is_frozen_nor_what_is_tested(block_rows: int) -> None:
    text = guarded(
        CAPPED, TAIL, SCORE.replace("}}", "}, covariate: before}"), more="scores: [before]\nsegments: [tenant]"
    )
    parts = [with_tenant(part) for part in with_score(clean(2), 0.0)]
    states = [
        [snapshot.dump(state, SECRET) for state in run(text, parts, size).it.current.rules.values()]
        for size in (block_rows, 900)
    ]
    assert states[0] == states[1]


def test_until_it_is_frozen_the_verdict_says_how_many_values_it_has() -> None:
    timeline = run(guarded(TAIL), [traces(1_000, seed=1, users=50_000)])
    timeline.seconds(10)
    verdict = next(v for v in timeline.measures()[-1].verdicts if v.rule == "guardrail[0]")
    seen = reference_of(timeline).values.size
    assert 400 < seen < 600
    assert (verdict.verdict, verdict.missing) == (
        "undecided",
        f"{seen} of 1,000 values of control that its reference is frozen from",
    )


def test_a_tail_threshold_leaves_something_above_it() -> None:
    """A tenth of all requests at the timeout make it the 95th percentile; nothing would lie above."""
    assert tail_threshold([*range(90), *[60_000] * 10], 0.95) == 89
    assert tail_threshold([7] * 100, 0.95) == 7


def test_intake_projects_the_metric_itself_and_the_covariate_and_the_judge_makes_the_rest() -> None:
    text = guarded(CAPPED, TAIL, SCORE.replace("}}", "}, covariate: before}"), more="scores: [before]")
    columns = {plan.column for plan in Watched.of(Timeline(text).experiment, 0).metrics}
    assert {"latency_ms", "resolved", "before"} <= columns
    assert not [column for column in columns if ":" in column]


# ---- what is judged ------------------------------------------------------------------------------


def with_slow_tail(some: Traces, share: float) -> Traces:
    """A share of the treatment's requests takes ten times as long."""
    hit = (some.variant == 1) & (np.random.default_rng(some.rows).random(some.rows) < share)
    latency = np.where(hit, some.metrics["latency_ms"] * 10, some.metrics["latency_ms"])
    logarithm = np.rint(np.log(latency / 1_000) * 1_000_000).astype(np.int64)
    return replace(some, metrics={**some.metrics, "latency_ms": latency, "latency_ms:log": logarithm})


def test_a_tail_that_a_logarithm_hides_is_found_by_its_twin() -> None:
    """2 % of requests ten times slower: the geometric mean rises by 4.7 %."""
    log = CAPPED.replace("capped", "log")
    timeline = run(guarded(log, TAIL.replace("0.50", "0.16")), [with_slow_tail(part, 0.04) for part in clean(30)])
    [breach] = timeline.breaches
    assert breach.evidence.margin == 0.16
    assert actions(timeline) == ["set_exposure", "rollback"]
    assert timeline.it.current.verdicts["guardrail[0]/everybody"].startswith("safe")


def test_the_sentence_says_which_threshold_and_where_it_comes_from() -> None:
    timeline = run(guarded(TAIL), clean(4, latency_ms=(500, 900)))
    [breach] = timeline.breaches
    limit = (reference_of(timeline).limit or 0) / 1_000
    assert f"latency_ms (share above {limit:,.6g} ms, control's frozen 95 % quantile) is worse than allowed: " in (
        breach.sentence
    )
    assert breach.evidence.control == pytest.approx(0.05, abs=0.03)


def test_a_threshold_of_the_spec_needs_no_reference() -> None:
    rule = TAIL.replace("exceedance", "exceedance, threshold: 800")
    timeline = run(guarded(rule), clean(2, latency_ms=(500, 900)))
    assert reference_of(timeline).values.size == 0
    assert "latency_ms (share above 800 ms) is worse than allowed" in timeline.breaches[0].sentence


def test_a_capped_mean_is_not_moved_by_one_huge_value_and_says_what_it_is() -> None:
    parts = clean(6, latency_ms=(500, 490))
    for part in parts:
        part.metrics["latency_ms"][np.flatnonzero(part.variant == 1)[0]] = 10**12
    timeline = run(guarded(CAPPED, TAIL), parts)
    capped = next(f for f in timeline.findings if f.evidence.margin == 0.15)
    assert (capped.verdict, timeline.breaches) == ("safe", [])
    assert "latency_ms (mean of values capped at " in capped.sentence
    assert capped.evidence.treatment is not None
    assert capped.evidence.treatment < 700


def test_a_capped_mean_still_finds_a_harm_of_the_many() -> None:
    timeline = run(guarded(CAPPED, TAIL.replace("0.50", "18")), clean(10, latency_ms=(500, 700)))
    assert "capped" in timeline.breaches[0].sentence


def test_the_tail_of_a_score_that_comes_as_an_outcome_is_watched_where_each_trace_is_its_own_unit() -> None:
    """An outcome is no first trace of anybody, so the stream that counts those never hears of it."""
    text = guarded(
        "{metric: resolved, direction: higher, margin: {relative: 0.5}, transform: exceedance}",
        text=SPEC.replace("randomisationUnit: user", "randomisationUnit: trace"),
    )
    timeline = Timeline(text).started()
    for part in with_score(clean(6), -0.5):
        timeline.seconds(1)
        timeline.traces(replace(part, metrics={"resolved": part.metrics["resolved"]}), outcomes=True)
    timeline.seconds(1)
    assert actions(timeline) == ["set_exposure", "rollback"]


# ---- failures ------------------------------------------------------------------------------------


def test_a_treatment_that_fails_fast_is_slower_not_faster() -> None:
    """A fifth of its requests fail after 20 ms: among all that were timed it looks a good deal quicker."""
    plain = "{metric: latency_ms, direction: lower, margin: {absolute: 100}}"
    parts = clean(10, error_rate=(0.0, 0.2), latency_ms=(500, 450))
    for part in parts:
        part.metrics["latency_ms"][part.metrics["error_rate"] == 1] = 20_000
    timeline = run(guarded(plain, text=QUICK_TIMEOUT), parts)
    assert actions(timeline) == ["set_exposure", "rollback"]
    treatment = timeline.breaches[0].evidence.treatment
    assert treatment == pytest.approx(0.8 * 510 + 0.2 * 5_000, rel=0.1)
    timeline.seconds(10)
    plotted = [arm for m in timeline.measures() for arm in m.arms if arm.metric == "latency_ms"]
    assert all(arm.mean is not None and arm.mean < 600 for arm in plotted)


def test_a_failure_that_was_not_timed_counts_as_the_timeout() -> None:
    reading = plan("{metric: latency_ms, direction: lower, margin: {absolute: 5}}", QUICK_TIMEOUT).reading
    some = traces(4, seed=1)
    some.metrics = {
        "latency_ms": np.array([MISSING, MISSING, 9_000_000, 1_000]),
        "error_rate": np.array([1, 0, 1, 0]),
    }
    timeline = run(guarded("{metric: latency_ms, direction: lower, margin: {absolute: 5}}"), [])
    rows, moment = rows_of(timeline, some)
    read = reading.read(reading.begin(), rows, moment)
    assert read is not None
    assert read.metrics["latency_ms"].tolist() == [5_000_000, MISSING, 9_000_000, 1_000]


def test_a_logarithm_is_scored_at_the_logarithm_of_the_timeout_and_other_metrics_not_at_all() -> None:
    log = plan(f"{CAPPED.replace('capped', 'log')}, {TAIL}", QUICK_TIMEOUT).reading
    assert log.timeout == round(math.log(5_000) * 1e6)
    assert plan("{metric: cost_usd, direction: lower, margin: {absolute: 1}}").reading.timeout is None


# ---- covariates ----------------------------------------------------------------------------------


def with_score(parts: list[Traces], effect: float) -> list[Traces]:
    """`resolved` is mostly what the user was like before, `before`; the treatment moves it by the effect."""
    for number, part in enumerate(parts):
        rng = np.random.default_rng(900 + number)
        before = rng.normal(0.6, 0.3, part.rows)
        resolved = before + np.where(part.variant == 1, effect, 0.0) + rng.normal(0, 0.05, part.rows)
        part.metrics["before"] = np.rint(before * 1e6).astype(np.int64)
        part.metrics["resolved"] = np.rint(resolved * 1e6).astype(np.int64)
    return parts


def test_a_covariate_finds_a_harm_with_a_fraction_of_the_traffic() -> None:
    adjusted = guarded(SCORE.replace("}}", "}, covariate: before}"), more="scores: [before]")
    plain, other = (run(text, with_score(clean(4), -0.03)) for text in (guarded(SCORE), adjusted))
    assert plain.breaches == []
    [breach] = other.breaches
    assert breach.evidence.estimate == pytest.approx(-0.03, abs=0.01)
    assert "resolved (adjusted by before, which leaves 3 % variance) is worse than allowed" in breach.sentence


def test_a_covariate_that_knows_nothing_changes_next_to_nothing() -> None:
    parts = with_score(clean(4), 0.0)
    for number, part in enumerate(parts):
        part.metrics["before"] = np.random.default_rng(number).integers(0, 10**6, part.rows)
    timeline = run(guarded(SCORE.replace("}}", "}, covariate: before}"), more="scores: [before]"), parts)
    adjustment = reference_of(timeline).adjustment
    assert adjustment is not None
    assert adjustment.gain == pytest.approx(1, abs=0.01)


def test_a_covariate_that_no_trace_carries_leaves_the_guardrail_as_it_is() -> None:
    parts = with_score(clean(12), -0.2)
    for part in parts:
        del part.metrics["before"]
    timeline = run(guarded(SCORE.replace("}}", "}, covariate: before}"), more="scores: [before]"), parts)
    assert actions(timeline) == ["set_exposure", "rollback"]


def test_rows_without_the_covariate_are_judged_as_they_are() -> None:
    parts = with_score(clean(4), 0.0)
    for part in parts:
        part.metrics["before"][::2] = MISSING
    timeline = run(guarded(SCORE.replace("}}", "}, covariate: before}"), more="scores: [before]"), parts)
    totals = timeline.it.current.rules["guardrail[0]"].dimensions[""]  # type: ignore[union-attr]
    assert totals.shown_n.sum() == pytest.approx(7_500, rel=0.01)


@pytest.mark.slow
def test_a_hundred_experiments_without_any_harm_stop_no_more_often_than_their_budgets_allow() -> None:
    """Tail, capped mean and adjusted score, with users that come back, at 5 % each: 15 % of all may stop."""
    text = guarded(
        "{metric: latency_ms, direction: lower, margin: {relative: 0.01}, transform: capped, alpha: 0.05}",
        "{metric: latency_ms, direction: lower, margin: {relative: 0.02}, transform: exceedance, alpha: 0.05}",
        "{metric: resolved, direction: higher, margin: {absolute: 0}, covariate: before, alpha: 0.05}",
        more="scores: [before]\nhealth: {sampleRatio: off}",
    )
    runs, stopped = 100, 0
    for number in range(runs):
        parts = [
            traces(2_000, seed=100 * number + s, users=3_000, population=number, error_rate=(0, 0)) for s in range(8)
        ]
        stopped += len(run(text, with_score(parts, 0.0), block_rows=2_000).commands) > 1
    assert stopped <= binom.ppf(0.999, runs, 0.15)


# ---- helpers -------------------------------------------------------------------------------------


def plan(guardrails: str, text: str = SPEC) -> GuardrailPlan:
    experiment = Timeline(guarded(guardrails, text=text)).experiment
    return GuardrailPlan.of(experiment, 0, experiment.spec.guardrails[0])


def rows_of(timeline: Timeline, some: Traces) -> tuple[Rows, Moment]:
    [block] = timeline.blocks(some)
    rows = count(timeline.it, block, block_columns(block))
    assert rows is not None
    return rows, moment_of(timeline.it, timeline.at, True, ("",))


def with_tenant(some: Traces) -> Traces:
    return replace(some, segments={"tenant": ["acme"] * some.rows})

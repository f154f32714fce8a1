from __future__ import annotations

import math

import numpy as np
import pytest

from stoploss.commands import Action
from stoploss.lifecycle import Lifecycle
from stoploss.stats import relative_risk
from tests.timelines import SPEC, Timeline, Traces, actions, merged, of_arm, spec, traces

ERRORS = "guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}]"
PER_TRACE = SPEC.replace("randomisationUnit: user", "randomisationUnit: trace")


def run(parts: list[Traces], text: str = SPEC, block_rows: int = 500) -> Timeline:
    timeline = Timeline(spec(ERRORS, text)).started()
    for some in parts:
        timeline.seconds(1)
        timeline.traces(some, block_rows=block_rows)
    timeline.seconds(1)
    return timeline


def traffic(rates: tuple[float, float], seconds: int, *, users: int = 20_000, rows: int = 500) -> list[Traces]:
    return [traces(rows, seed=300 + s, users=users, error_rate=rates) for s in range(seconds)]


def test_gross_harm_is_found_by_the_exact_stream_from_a_few_hundred_units() -> None:
    timeline = run(traffic((0.01, 0.30), 3, users=100_000, rows=120))
    [finding] = timeline.breaches
    evidence = finding.evidence
    assert actions(timeline) == ["set_exposure", "rollback"]
    assert evidence.statistic == "log e of harm, first traces"
    assert evidence.bound == pytest.approx(math.log(2 / 0.01))
    assert evidence.n_control + evidence.n_treatment <= 360
    assert evidence.control is not None
    assert evidence.treatment is not None
    assert evidence.control < 0.05 < 0.2 < evidence.treatment


def test_a_control_without_a_single_event_protects_no_harmful_treatment() -> None:
    assert actions(run(traffic((0.0, 0.30), 3, users=100_000))) == ["set_exposure", "rollback"]


def test_small_harm_in_busy_units_is_found_by_the_robust_stream() -> None:
    """500 users give one first trace each; what they do afterwards only the robust stream sees."""
    timeline = run(traffic((0.05, 0.12), 10, users=500))
    [finding] = timeline.breaches
    assert finding.evidence.statistic == "log e of harm"
    assert finding.evidence.units_treatment <= 500


def test_the_exact_stream_is_what_the_formula_gives_for_the_first_traces_of_each_second() -> None:
    parts = traffic((0.05, 0.08), 4, users=2_000, rows=400)
    timeline = run(parts, block_rows=90)
    seen: set[int] = set()
    logs = relative_risk.NO_EVIDENCE
    for part in parts:
        counts = np.zeros((2, 2), int)
        errors = part.metrics["error_rate"].tolist()
        for unit, arm, error in zip(part.unit.tolist(), part.variant.tolist(), errors, strict=True):
            slot = unit >> 44
            if slot not in seen:
                seen.add(slot)
                counts[arm] += 1, error
        (n_c, x_c), (n_t, x_t) = counts.tolist()
        logs = relative_risk.accumulate(logs, relative_risk.log_increment(n_c, x_c, n_t, x_t, rr0=1.1))
    harm, _ = timeline.it.current.rules["guardrail[0]"].first[""].logs(0)  # type: ignore[union-attr]
    assert relative_risk.log_e(harm) == pytest.approx(relative_risk.log_e(logs), rel=1e-12)


def test_where_each_trace_is_its_own_unit_the_exact_stream_has_the_whole_budget_and_the_other_is_silent() -> None:
    busy = run(traffic((0.05, 0.12), 10, users=500), PER_TRACE)
    assert busy.findings == []
    fresh = run(traffic((0.01, 0.30), 3, users=100_000), PER_TRACE)
    assert fresh.breaches[0].evidence.bound == pytest.approx(math.log(1 / 0.01))


def test_a_rate_that_is_no_worse_becomes_safe_and_says_by_which_number() -> None:
    timeline = run(traffic((0.20, 0.10), 12))
    [finding] = timeline.findings
    assert (finding.verdict, actions(timeline)) == ("safe", ["set_exposure"])
    assert finding.evidence.statistic is not None
    assert finding.evidence.statistic.startswith("log e of safety")
    assert finding.evidence.observed is not None
    assert finding.evidence.observed >= math.log(2 / 0.01)


def test_safety_that_the_robust_stream_finds_shows_the_robust_number() -> None:
    """In the middle of a second the exact stream has not scored it yet."""
    timeline = run(traffic((0.40, 0.10), 12, users=1_000))
    safe = [finding for finding in timeline.findings if finding.verdict == "safe"]
    assert len(safe) == 1
    evidence = safe[0].evidence
    assert evidence.observed is not None
    assert evidence.observed >= math.log(2 / 0.01)
    assert evidence.statistic == "log e of safety"


def test_equal_rates_stay_undecided_or_safe() -> None:
    assert actions(run(traffic((0.05, 0.05), 20))) == ["set_exposure"]


def test_a_rise_within_the_margin_is_no_breach() -> None:
    timeline = Timeline(spec(ERRORS.replace("0.10", "2.0"))).started()
    for some in traffic((0.05, 0.09), 20):
        timeline.seconds(1)
        timeline.traces(some)
    assert timeline.breaches == []


def test_one_armed_blocks_are_carried_until_both_arms_are_there() -> None:
    """Producers that key by variant: a rule that skipped such blocks would be blind."""
    parted = [merged(of_arm(part, 0), of_arm(part, 1)) for part in traffic((0.01, 0.30), 3, users=100_000)]
    assert actions(run(parted, block_rows=250)) == ["set_exposure", "rollback"]


def test_an_arm_that_comes_seconds_later_is_still_compared() -> None:
    parts = traffic((0.01, 0.30), 3, users=100_000)
    alternating = [of_arm(part, arm) for part in parts for arm in (0, 1)]
    assert actions(run(alternating)) == ["set_exposure", "rollback"]


def test_counts_are_never_carried_across_epochs() -> None:
    """Control of the old epoch, treatment of the new one: between them nothing may be concluded."""
    throttle = "budgets: [{metric: cost_usd, limit: 1, period: 1h, actions: [{burn: 14.4, do: throttle, to: 0.4}]}]"
    timeline = Timeline(spec(f"{ERRORS}\n{throttle}")).started()
    timeline.seconds(1)
    calm, wild = (of_arm(part, arm) for part, arm in zip(traffic((0.0, 0.5), 2, users=100_000), (0, 1), strict=True))
    timeline.traces(calm)
    costly = of_arm(traces(20, seed=900, population=9, error_rate=(0.0, 0.0), cost_usd=10.0), 1)
    costly.metrics["error_rate"][:] = -(2**63)
    timeline.traces(costly)
    assert actions(timeline) == ["set_exposure", "throttle"]
    timeline.seconds(1)
    timeline.traces(wild)
    timeline.seconds(1)
    assert [finding for finding in timeline.breaches if finding.evidence.rule == "guardrail"] == []


def test_a_tenant_whose_rate_alone_rises_is_stopped_alone() -> None:
    timeline = Timeline(spec(ERRORS + "\nsegments: [tenant]")).started()
    for second in range(12):
        timeline.seconds(1)
        clean = traces(3_000, seed=40 + second, users=30_000, tenant="zeta")
        harm = traces(40, seed=90 + second, users=2_000, population=1, error_rate=(0.02, 0.6), tenant="acme")
        timeline.traces(merged(clean, harm), block_rows=1_000)
    timeline.seconds(1)
    assert [c.action for c in timeline.commands] == [Action.SET_EXPOSURE, Action.STOP_SEGMENT]
    assert [str(s) for s in timeline.commands[-1].stopped_segments] == ["tenant=acme"]
    assert timeline.it.lifecycle == Lifecycle.RUNNING

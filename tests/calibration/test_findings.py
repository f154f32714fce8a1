"""From rehearsals to rates with their exact interval, and to delays that count the runs that were never stopped."""

from __future__ import annotations

from importlib import import_module

import pytest

from stoploss.calibration.findings import detection, promised_stops, stop_rate, stop_rates
from stoploss.calibration.promises import Promise, promises, total
from stoploss.calibration.rehearsal import Alarm, Ended
from stoploss.calibration.trials import Scenario
from stoploss.rules import AnyRule, rules_of
from stoploss.spec.file import parse_experiment
from tests.timelines import EVERY_RULE, spec

GIVEN = (Promise("guardrail[0]", "latency", 0.01), Promise("drift[0]", "tokens", None))


def alarm(requests: int, rule: str = "guardrail[0]", action: str = "rollback", *, segment: bool = False) -> Alarm:
    return Alarm(rule, "everybody", "latency_ms", action, segment, requests / 1_000, requests, requests // 2, requests)


def ended(*alarms: Alarm) -> Ended:
    return Ended(alarms, 10_000, 5_000)


def test_a_rate_has_its_exact_interval_and_is_kept_while_the_data_allow_the_promise() -> None:
    rate = stop_rate("latency", 0.01, 2_000, 30)
    assert (rate.low, rate.high) == (pytest.approx(0.010143, abs=1e-6), pytest.approx(0.021342, abs=1e-4))
    assert rate.kept is False
    assert stop_rate("latency", 0.01, 2_000, 29).kept is True
    assert stop_rate("latency", None, 2_000, 500).kept is None


def test_a_run_counts_once_for_each_rule_that_ordered_something() -> None:
    runs = [
        ended(alarm(1), alarm(2)),
        ended(alarm(3, "drift[0]", "pause")),
        ended(alarm(4, "drift[0]", "hold")),
        ended(),
    ]
    assert [rate.stopped for rate in stop_rates(runs, GIVEN)] == [1, 1]
    together = promised_stops(runs, GIVEN)
    assert (together.stopped, together.promised) == (1, 0.01)


def test_delays_are_quantiles_of_all_runs_and_none_where_too_few_were_stopped() -> None:
    runs = [*(ended(alarm(1_000 * k)) for k in range(1, 7)), *(ended() for _ in range(4))]
    found = detection(Scenario("slower", "", rule="guardrail[0]"), runs)
    assert (found.found, found.by_rule) == (6, 6)
    assert found.median is not None
    assert found.median.requests == 5_000
    assert found.four_fifths is None
    assert found.saved == pytest.approx(sum(1 - k / 10 for k in range(1, 7)) / 10)


def test_a_stop_of_one_segment_has_not_found_a_harm_of_everybody() -> None:
    found = detection(Scenario("slower", "", rule="guardrail[0]"), [ended(alarm(1, segment=True)), ended(alarm(2))])
    assert found.found == 1


def test_every_rule_says_what_it_promises_and_the_sum_bounds_all() -> None:
    given = promises(parse_experiment(spec(EVERY_RULE)))
    by_rule = {promise.rule: promise.alpha for promise in given}
    assert by_rule["guardrail[0]"] == 0.02  # its own alpha for everybody, as much for the segments
    assert by_rule["regression[0]"] == 0.01
    assert by_rule["sample_ratio"] == 0.001
    assert by_rule["gate"] is None
    assert total(given) == pytest.approx(sum(alpha for alpha in by_rule.values() if alpha))
    without = promises(
        parse_experiment(spec("guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0}}]"))
    )
    assert {p.rule: p.alpha for p in without}["guardrail[0]"] == 0.01


def has_error_budget(rule: AnyRule) -> bool:
    """Whether it holds evidence against a limit: a rule shows that by an alpha, its module's, its own or its plan's."""
    module = vars(import_module(type(rule).__module__))
    return bool({"ALPHA", "RateBatch"} & set(module)) or hasattr(getattr(rule, "plan", rule), "alpha")


def test_every_rule_with_an_error_budget_promises_it_but_for_those_that_stop_nothing() -> None:
    experiment = parse_experiment(spec(EVERY_RULE))
    promising = {promise.rule for promise in promises(experiment) if promise.alpha is not None}
    budgeted = {rule.key for rule in rules_of(experiment) if has_error_budget(rule)}
    assert promising == {key for key in budgeted if not key.startswith(("objective", "interaction["))}
    assert {"drift[0]", "mix_drift[1]", "judge_drift", "audit", "alignment", "coverage", "unresolved"} <= promising

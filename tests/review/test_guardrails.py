"""Each guardrail with its interval, margin and verdict in words."""

from __future__ import annotations

import pytest

from stoploss.review.cells import Cells
from stoploss.review.guardrails import (
    WORDS,
    effect_text,
    guardrail_results,
    interval_text,
    margin_text,
    segment_results,
    standing_out,
    words_of,
)
from stoploss.rules.verdict import Outcome, Reason
from stoploss.store.rows import RuleVerdict
from tests.review.rows import GUARDED, at, experiment, finding, verdict

SPEC = experiment(GUARDED)
ACME = {"segment_dimension": "tenant", "segment_value": "acme"}


def test_a_guardrail_that_was_never_judged_has_no_numbers() -> None:
    latency, *_ = guardrail_results(SPEC, [], [])
    assert (latency.verdict, latency.words, latency.at) == ("not judged", "not judged yet: no data", None)
    assert (latency.estimate, latency.lower, latency.n_treatment) == (None, None, None)
    assert interval_text(latency) == "no interval yet"


def test_relative_limits_are_shares_and_absolute_ones_have_the_metrics_unit() -> None:
    score = verdict(rule="guardrail[1]", metric="helpfulness", lower=-0.03, upper=0.01, margin=0.02)
    latency, helpfulness, _ = guardrail_results(SPEC, [verdict(), score], [])
    assert (interval_text(latency), margin_text(latency)) == ("-2 % to +12 %", "may rise by at most 15 %")
    assert interval_text(helpfulness) == "-0.03 points to +0.01 points"
    assert margin_text(helpfulness) == "may fall by at most 0.02 points"
    assert effect_text(latency.estimate, latency) == "+5 %"


def test_a_limit_that_does_not_exist_is_said_to_be_none() -> None:
    (latency, *_) = guardrail_results(SPEC, [verdict(upper=None, estimate=None)], [])
    assert interval_text(latency) == "-2 % to no limit"
    assert latency.estimate is None


def test_a_breach_stays_the_verdict_whatever_the_rule_says_later() -> None:
    (latency, *_) = guardrail_results(
        SPEC, [verdict(at=at(60), verdict="safe", reason="evidence_of_safety")], [finding(5)]
    )
    assert (latency.verdict, latency.lower, latency.at) == ("breach", 0.16, at(5))


def test_a_breach_of_another_margin_on_the_same_metric_is_the_other_guardrails() -> None:
    (latency, *_) = guardrail_results(SPEC, [verdict()], [finding(5, margin=0.3)])
    assert latency.verdict == "undecided"


def test_a_breach_in_one_segment_is_not_everybodys() -> None:
    (latency, *_) = guardrail_results(SPEC, [verdict()], [finding(5, **ACME)])
    assert latency.verdict == "undecided"
    (acme,) = segment_results(SPEC, [verdict(**ACME)], [finding(5, **ACME)], Cells())
    assert (acme.segment, acme.verdict) == ("tenant=acme", "breach")


@pytest.mark.parametrize("n_treatment", [19, 20])
def test_a_breach_in_a_cell_below_the_minimum_has_no_numbers(n_treatment: int) -> None:
    (acme,) = segment_results(SPEC, [], [finding(5, **ACME, n_treatment=n_treatment)], Cells())
    assert acme.hidden == (n_treatment < 20)
    assert (acme.lower is None) == acme.hidden
    assert (acme.n_control is None) == acme.hidden
    assert acme.verdict == "breach"


def test_a_hidden_measure_stays_hidden() -> None:
    blank = {"estimate": None, "lower": None, "upper": None, "n_control": None, "n_treatment": None}
    (acme,) = segment_results(SPEC, [verdict(**ACME, **blank, hidden=True)], [], Cells())
    assert acme.hidden
    assert interval_text(acme) == "hidden"


def test_every_pair_that_has_words_is_one_that_rules_say() -> None:
    known = {(outcome.value, reason.value) for outcome in Outcome for reason in Reason}
    assert set(WORDS) - known == {("not judged", "")}
    assert words_of("breach", "a_new_reason") == "breach (a new reason)"


def of_tenants(**evidence: float) -> list[RuleVerdict]:
    """Verdicts of the first guardrail, by tenant, with so much log evidence of harm."""
    return [
        verdict(segment_dimension="tenant", segment_value=name, observed=log_e, verdict="undecided")
        for name, log_e in evidence.items()
    ]


def test_the_segments_with_the_strongest_evidence_of_harm_come_first() -> None:
    found = segment_results(SPEC, of_tenants(a=0.3, b=6.0, c=-1.0, d=5.0), [], Cells())
    assert [result.segment for result in standing_out(found)] == ["tenant=b", "tenant=d"]


def test_evidence_of_safety_and_hidden_numbers_stand_out_of_nothing() -> None:
    safe = verdict(segment_dimension="tenant", segment_value="a", observed=9.0, verdict="safe")
    tiny = verdict(segment_dimension="tenant", segment_value="b", observed=None, hidden=True)
    assert standing_out(segment_results(SPEC, [safe, tiny], [], Cells())) == ()

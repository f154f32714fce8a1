from __future__ import annotations

from dataclasses import replace

import pytest

from stoploss.commands import Evidence, Segment
from stoploss.rules.verdict import Outcome, Reason, Verdict
from stoploss.sentences import sentence
from stoploss.spec.file import parse_experiment
from stoploss.stats.floors import Floor
from tests.timelines import spec

EXPERIMENT = parse_experiment(
    spec("""
    guardrails:
      - {metric: error_rate, direction: lower, margin: {relative: 0.10}}
      - {metric: resolved, direction: higher, margin: {absolute: 0.02}}
    """)
)
RELATIVE = Evidence(
    rule="guardrail",
    rule_version=1,
    metric="error_rate",
    observed=6.129,
    bound=4.605,
    control=0.018,
    treatment=0.02838,
    lower=0.1281,
    upper=1.067,
    margin=0.10,
    n_control=10_779,
    n_treatment=11_101,
)


def words(outcome: Outcome, reason: Reason, evidence: Evidence, **more: object) -> str:
    return sentence(Verdict("everybody", outcome, reason, evidence, **more), EXPERIMENT)  # type: ignore[arg-type]


def test_a_relative_harm_is_told_in_percent_with_both_arms_and_how_many_traces() -> None:
    assert words(Outcome.BREACH, Reason.EVIDENCE_ABOVE_LIMIT, RELATIVE) == (
        "error_rate is worse than allowed: 0.02838 with 'small' against 0.018 with 'current' "
        "(effect between 12.8 % and 106.7 %, margin 10.0 %; log evidence 6.129, limit 4.605; 11,101 and 10,779 traces)"
    )


def test_an_absolute_harm_is_told_in_the_metrics_own_unit() -> None:
    evidence = replace(RELATIVE, metric="resolved", margin=0.02, lower=-0.09, upper=-0.03, control=0.7, treatment=0.64)
    said = words(Outcome.BREACH, Reason.EVIDENCE_ABOVE_LIMIT, evidence)
    assert "0.64 with 'small' against 0.7 with 'current' (effect between -0.09 and -0.03, margin 0.02;" in said


def test_a_segment_is_named() -> None:
    evidence = replace(RELATIVE, segment=Segment("tenant", "acme"))
    assert words(Outcome.BREACH, Reason.EVIDENCE_ABOVE_LIMIT, evidence).startswith(
        "error_rate for tenant=acme is worse"
    )


def test_what_is_undecided_says_how_much_is_there_and_how_much_it_takes() -> None:
    floor = Floor("units in the treatment arm", 412, 1_000)
    said = words(Outcome.UNDECIDED, Reason.BELOW_FLOOR, RELATIVE, floor=floor)
    assert said == "error_rate is undecided: 412 of 1,000 units in the treatment arm"


def test_a_requirement_that_is_missed_by_a_hair_is_not_shown_as_met() -> None:
    floor = Floor("effective groups of units", 31.97, 32)
    assert "31 of 32 effective groups" in words(Outcome.UNDECIDED, Reason.BELOW_FLOOR, RELATIVE, floor=floor)


def test_no_data_is_never_zero() -> None:
    evidence = replace(RELATIVE, control=None, lower=None, upper=None, observed=None)
    said = words(Outcome.UNDECIDED, Reason.EVIDENCE_BETWEEN, evidence)
    assert "against no data with 'current' (no limits yet" in said
    assert "log evidence no data" in said


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence_without_python_in_it(reason: Reason) -> None:
    evidence = replace(
        RELATIVE, statistic="seconds without a trace of the control arm", units_control=5, units_treatment=7
    )
    said = words(Outcome.OK, reason, evidence)
    assert len(said) > 15
    assert "None" not in said
    assert "Outcome" not in said
    assert "Reason" not in said


def test_a_gate_names_the_variant_that_tripped_it() -> None:
    evidence = Evidence(rule="gate", rule_version=1, metric="pii_exposed", observed=1.0, bound=1.0)
    for stream, variant in (("pii_exposed", "small"), ("pii_exposed in control", "current")):
        verdict = Verdict(stream, Outcome.BREACH, Reason.FIRST_EVENT, evidence, detail="a card number")
        said = sentence(verdict, EXPERIMENT)
        assert said == f"gate pii_exposed was tripped by variant {variant!r}: a card number"

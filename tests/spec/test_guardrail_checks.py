"""Guardrails that could never fire, mean nothing or hide a tail are refused before the start, with the way out."""

from __future__ import annotations

import re

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.spec.file import parse_experiment
from tests.timelines import SPEC, spec

TAIL = "{metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance}"


def violations(*guardrails: str, more: str = "", text: str = SPEC) -> list[str]:
    with pytest.raises(InvalidExperiment) as refused:
        parse_experiment(spec(f"guardrails: [{', '.join(guardrails)}]\n{more}", text))
    return [f"{violation.field}: {violation.message}" for violation in refused.value.violations]


def latency(more: str, margin: str = "relative: 0.15", direction: str = "lower") -> str:
    return f"{{metric: latency_ms, direction: {direction}, margin: {{{margin}}}{more}}}"


def score(more: str, margin: str = "absolute: 0.02") -> str:
    return f"{{metric: resolved, direction: higher, margin: {{{margin}}}{more}}}"


FAULTS = {
    "a capped rate": (
        "{metric: error_rate, direction: lower, margin: {relative: 0.1}, transform: capped}",
        "transform: 'error_rate' counts 0 or 1 already: drop the transform",
    ),
    "the exceedance of a rate": (
        "{metric: error_rate, direction: lower, margin: {relative: 0.1}, transform: exceedance}",
        "transform: 'error_rate' counts 0 or 1 already: drop the transform",
    ),
    "a logarithm of a score": (
        score(", transform: log"),
        "transform: 'resolved' can be 0 or below; drop the transform",
    ),
    "an absolute margin of an exceedance": (
        latency(", transform: exceedance", "absolute: 100"),
        "margin: the share beyond a threshold is a rate; give a relative margin, such as {relative: 0.50}",
    ),
    "a rate that would have to pass 1": (
        latency(", transform: exceedance, quantile: 0.5", "relative: 1.0"),
        "margin: control's share beyond the threshold is 50 %, so a relative margin of 1 could never be passed; "
        "give one below 1, or a higher quantile",
    ),
    "a quantile of a mean": (
        latency(", quantile: 0.9"),
        "quantile: quantile belongs to transform: exceedance; add that, or drop quantile",
    ),
    "a threshold of a mean": (
        latency(", threshold: 9"),
        "threshold: threshold belongs to transform: exceedance; add that, or drop threshold",
    ),
    "a quantile and a threshold": (
        latency(", transform: exceedance, quantile: 0.9, threshold: 800"),
        "threshold: an exceedance has a quantile or a threshold; give one of the two",
    ),
    "a threshold below everything": (
        latency(", transform: exceedance, threshold: 0"),
        "threshold: all values of 'latency_ms' lie above 0; give a threshold above 0",
    ),
    "a threshold that no value reaches": (
        "{metric: cost_usd, direction: lower, margin: {relative: 0.5}, transform: exceedance, threshold: 5000}",
        "threshold: no value lies beyond 5000 USD; give a smaller threshold",
    ),
    "a threshold that lets failures pass": (
        latency(", transform: exceedance, threshold: 60000"),
        "threshold: failures count as the service timeout, 60000 ms, which 60000 ms would let pass; "
        "give a threshold below it",
    ),
    "a margin longer than any request": (
        latency("", "absolute: 60000"),
        "margin.absolute: no mean rises by 60000 ms where requests end after 60000 ms (assignment.serviceTimeout), "
        "so this could never fire; give a smaller margin",
    ),
    "a covariate of a rate": (
        latency(", transform: exceedance, covariate: before"),
        "covariate: a covariate adjusts a mean, and 'latency_ms' is judged as a rate here; drop it",
    ),
    "a covariate beside a relative margin": (
        latency(", covariate: before"),
        "covariate: with a relative margin the adjustment would move the margin itself; give an absolute margin, "
        "or transform: log",
    ),
    "a covariate that nobody declared": (
        score(", covariate: earlier"),
        "covariate: 'earlier' is not declared; list it under spec.scores, and let traces carry it",
    ),
    "a covariate that the treatment can move": (
        score(", covariate: resolved"),
        "covariate: 'resolved' is measured after the assignment, so it would take the harm out; drop it",
    ),
    "a metric of the request as covariate": (
        score(", covariate: output_tokens"),
        "covariate: 'output_tokens' is measured after the assignment, so it would take the harm out; drop it",
    ),
    "a quantile out of range": (latency(", transform: exceedance, quantile: 1.0"), "quantile: "),
}


@pytest.mark.parametrize(("guardrail", "message"), FAULTS.values(), ids=list(FAULTS))
def test_what_could_not_work_is_refused_with_field_value_and_way_out(guardrail: str, message: str) -> None:
    [found] = violations(guardrail, more="scores: [before]")
    assert found.startswith(f"spec.guardrails[0].{message}")


@pytest.mark.parametrize("transform", ["log", "capped"])
def test_a_transform_that_hides_a_tail_is_refused_and_the_line_that_it_names_is_the_way_out(transform: str) -> None:
    mine = latency(f", transform: {transform}, action: pause")
    [found] = violations(mine)
    line = re.search(r"- (\{.*\})$", found)
    assert line is not None
    assert line[1] == f"{TAIL[:-1]}, action: pause}}"
    parse_experiment(spec(f"guardrails: [{mine}, {line[1]}]"))


def test_the_named_line_never_has_the_margin_of_another_guardrail_on_the_metric() -> None:
    [found] = violations(latency(", transform: log", "relative: 0.50"))
    assert "margin: {relative: 1.00}" in found


def test_a_tail_of_another_metric_or_direction_is_no_twin() -> None:
    assert len(violations(latency(", transform: log"), TAIL.replace("latency_ms", "cost_usd"))) == 1
    assert len(violations(latency(", transform: log"), TAIL.replace("lower", "higher"))) == 1


def test_where_more_is_better_a_logarithm_hides_no_harm() -> None:
    parse_experiment(
        spec("guardrails: [{metric: cached_tokens, direction: higher, margin: {relative: 0.1}, transform: log}]")
    )


def test_two_guardrails_that_nobody_could_tell_apart_are_refused() -> None:
    [found] = violations(latency(""), latency(""))
    assert found == (
        "spec.guardrails[1].margin: guardrail 0 has the same margin on 'latency_ms', so nobody could tell their "
        "verdicts apart; give one of them another"
    )


def test_what_makes_sense_is_accepted() -> None:
    parse_experiment(
        spec(
            f"""
scores: [before]
guardrails:
  - {latency(", transform: log")}
  - {TAIL}
  - {latency(", transform: exceedance, threshold: 2000", "relative: 0.25")}
  - {latency(", transform: exceedance, quantile: 0.5", "relative: 0.9")}
  - {score(", covariate: before")}
  - {score(", transform: exceedance", "relative: 2.0")}
"""
        )
    )

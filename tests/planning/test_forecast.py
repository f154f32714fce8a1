"""The plan: what is found in time, what never fires and why, and what false stops are promised."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from stoploss.calibration.judged import as_judged
from stoploss.errors import ConfigurationError
from stoploss.planning import baseline, flow
from stoploss.planning.forecast import Plan, planned
from stoploss.planning.picture import picture
from stoploss.planning.stated import Stated, baseline_of, parse_levels
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.spec.file import parse_experiment
from tests.calibration.traffic import QUICK, requests
from tests.timelines import spec

GUARDRAILS = """
guardrails:
  - {metric: latency_ms, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}
  - {metric: error_rate, direction: lower, margin: {relative: 0.10}, alpha: 0.02, action: pause}
  - {metric: resolved, direction: higher, margin: {absolute: 0.02}, action: rollback}
"""
RAMP = QUICK.replace("ramp: {stages: [0.5]}", "ramp: {stages: [0.01, 0.5], minDuration: 1h, minUnits: 100}")


def of_recording(text: str, times: float = 2.0, last_hours: float | None = None) -> Plan:
    experiment, some = parse_experiment(text), requests(7_200, users=4_000)
    plans = [GuardrailPlan.of(experiment, i, guardrail) for i, guardrail in enumerate(experiment.spec.guardrails)]
    baselines = {plan.index: baseline.recorded(some, as_judged(some, plan)) for plan in plans}
    source, traffic = "two hours", flow.recorded(some)
    return planned(experiment, traffic, baselines, source=source, times=times, last_hours=last_hours)


def of_statement(text: str, *levels: str, requests_per_hour: float = 3_600) -> Plan:
    experiment = parse_experiment(text)
    given = Stated(parse_levels(levels, experiment), requests_per_hour)
    plans = [GuardrailPlan.of(experiment, i, guardrail) for i, guardrail in enumerate(experiment.spec.guardrails)]
    return planned(experiment, given.flow, {p.index: baseline_of(given, p) for p in plans}, source=given.text)


def test_each_guardrail_has_its_delay_and_its_price_at_each_stage() -> None:
    latency = of_recording(spec(GUARDRAILS, RAMP)).guardrails[0]
    small, half = latency.reaches
    assert (latency.watches, latency.text, latency.verdict) == ("latency_ms", "+20 %", "in time")
    assert (small.exposure, half.exposure) == (0.01, 0.5)
    assert half.median is not None
    assert half.four_fifths is not None
    assert half.median.hours < half.four_fifths.hours < 1.0
    assert half.median.exposures == pytest.approx(0.5 * half.median.requests)
    assert small.median is None or small.median.hours > half.median.hours


def test_a_guardrail_that_is_too_slow_says_what_it_would_find_and_how_long_it_needs() -> None:
    errors = of_recording(spec(GUARDRAILS, RAMP)).guardrails[1]
    assert errors.verdict == "late"
    assert errors.smallest is not None
    assert float(errors.smallest.strip("+ %")) > 20
    assert "let the last stage last" in errors.advice
    needed = int(errors.advice.split("let the last stage last ")[1].split(" h")[0].replace(",", ""))
    assert of_recording(spec(GUARDRAILS, RAMP), last_hours=float(needed)).guardrails[1].verdict == "in time"


def test_a_metric_that_nobody_recorded_can_never_fire() -> None:
    score = of_recording(spec(GUARDRAILS, RAMP)).guardrails[2]
    assert (score.verdict, score.reaches, score.smallest) == ("never", (), None)
    assert "record it, or state it with --baseline" in score.advice


def test_a_rate_without_any_event_can_never_fire() -> None:
    never = of_statement(
        spec("guardrails: [{metric: refusal_rate, direction: lower, margin: {relative: 0.1}}]"), "refusal_rate=0"
    )
    assert "no request has the event" in never.guardrails[0].advice


def test_stages_last_until_enough_units_have_met_the_treatment() -> None:
    first, last = of_statement(spec("", RAMP), requests_per_hour=1_000).stages
    assert (first.hours, last.hours) == (10.0, 1.0)


def test_false_stops_add_up_over_rules_and_over_runs() -> None:
    plan = of_recording(spec(GUARDRAILS, RAMP))
    own = 0.01 + 0.02 + 0.01  # guardrails
    fixed = 3 * 0.001  # of the sample ratio, over-exposure and rejects
    assert plan.false_stops == pytest.approx(2 * own + fixed), "each guardrail has a twin"
    assert plan.false_stops_of_ramp == pytest.approx(2 * plan.false_stops)


def test_stated_and_recorded_baselines_agree() -> None:
    """Lognormal of sigma 0.5 around 500 ms, an error of a second in fifty."""
    text = spec(
        "guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.1}, action: rollback}]", QUICK
    )
    (recorded,), (stated,) = of_recording(text, 8.0).guardrails, of_statement(text, "error_rate=0.02").guardrails
    assert stated.verdict == "late"
    assert recorded.reaches[0].median is not None
    log = spec(
        """
        guardrails:
          - {metric: latency_ms, direction: lower, margin: {relative: 0.1}, transform: log}
          - {metric: latency_ms, direction: lower, margin: {relative: 0.5}, transform: exceedance}
        """,
        QUICK,
    )
    plain, tail = of_statement(log, "latency_ms=567,302").guardrails
    assert plain.reaches[0].median is not None
    assert plain.reaches[0].median.requests == pytest.approx(1_800, rel=0.3)
    assert tail.reaches[0].median is not None


@pytest.mark.parametrize("text", ["latency_ms", "latency_ms=fast", "=3", "latency_ms=1,2,3", "latency_ms=nan"])
def test_a_baseline_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="write METRIC=MEAN"):
        parse_levels([text], parse_experiment(spec()))


def test_the_specs_own_baseline_is_one() -> None:
    text = spec("", QUICK.replace("success: {metric: resolved}", "success: {metric: resolved, baseline: 0.7}"))
    assert parse_levels([], parse_experiment(text))["resolved"].mean == 0.7


def test_the_picture_is_svg_with_a_row_for_every_guardrail_and_stage() -> None:
    drawn = ElementTree.fromstring(picture(of_recording(spec(GUARDRAILS, RAMP))))
    space = "{http://www.w3.org/2000/svg}"
    words = [element.text for element in drawn.iter(f"{space}text")]
    assert {"latency_ms +20 %", "error_rate +20 %", "resolved −0.04"} <= set(words)
    assert words.count("1 %") == words.count("50 %") == 2
    _, *bars = drawn.iter(f"{space}rect")
    assert 2 <= len(bars) <= 4
    width = float(drawn.attrib["width"])
    assert all(0 <= float(bar.attrib["x"]) <= width - float(bar.attrib["width"]) for bar in bars)

"""Harm of a stated size, in the metric's own columns and in no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stoploss.calibration.injection import harm_of, harmed
from stoploss.calibration.judged import as_judged
from stoploss.calibration.requests import Requests
from stoploss.metrics import MISSING
from stoploss.spec.file import parse_experiment
from tests.calibration.traffic import measured, requests
from tests.timelines import spec


def guarded(guardrail: str, times: float, some: Requests) -> tuple[dict[str, np.ndarray], Requests, Requests]:
    """The harmed columns, and the requests before and after the harm."""
    experiment = parse_experiment(spec(f"guardrails:\n  - {{{guardrail}}}", TIMEOUT_2S))
    found = harmed(some, harm_of(experiment, 0, times), 1)
    return found, some, replace(some, metrics={**some.metrics, **found})


TIMEOUT_2S = spec().replace("control: current}", "control: current, serviceTimeout: 2s}")


def judged_mean(guardrail: str, some: Requests) -> float:
    experiment = parse_experiment(spec(f"guardrails:\n  - {{{guardrail}}}", TIMEOUT_2S))
    x = as_judged(some, harm_of(experiment, 0, 2.0).plan)
    assert x is not None
    return float(x[x != MISSING].mean())


@pytest.mark.parametrize(
    ("guardrail", "ratio"),
    [
        ("metric: latency_ms, direction: lower, margin: {relative: 0.15}", 1.3),
        ("metric: error_rate, direction: lower, margin: {relative: 0.25}", 1.5),
        ("metric: latency_ms, direction: lower, transform: exceedance, margin: {relative: 0.5}", 2.0),
        ("metric: latency_ms, direction: lower, transform: exceedance, threshold: 900, margin: {relative: 0.5}", 2.0),
    ],
)
def test_what_the_guardrail_judges_gets_worse_by_the_stated_share(guardrail: str, ratio: float) -> None:
    _, before, after = guarded(guardrail, 2.0, requests(40_000, error_rate=0.03))
    if "threshold" not in guardrail and "exceedance" in guardrail:  # the threshold that control froze
        failed = before.metrics["error_rate"] == 1
        latency = np.where(failed, np.maximum(before.metrics["latency_ms"], 2_000_000), before.metrics["latency_ms"])
        limit = np.quantile(latency, 0.95) / 1_000
        guardrail = guardrail.replace("transform: exceedance", f"transform: exceedance, threshold: {limit:.3f}")
    assert judged_mean(guardrail, after) / judged_mean(guardrail, before) == pytest.approx(ratio, rel=0.06)


def test_a_logarithm_moves_with_its_metric() -> None:
    some = requests(1_000, error_rate=0.0)
    logs = np.rint(np.log(some.metrics["latency_ms"] / 1_000) * 1e6).astype(np.int64)
    some = measured(some, "latency_ms:log", logs)
    found, _, _ = guarded("metric: latency_ms, direction: lower, margin: {relative: 0.15}", 2.0, some)
    assert sorted(found) == ["latency_ms", "latency_ms:log"]
    assert found["latency_ms:log"] - logs == pytest.approx(np.log(1.3) * 1e6, abs=20)


def test_an_absolute_harm_of_a_score_lowers_it_and_no_data_stays_no_data() -> None:
    score = np.full(100, 700_000, np.int64)
    score[3] = MISSING
    some = measured(requests(100), "resolved", score)
    found, _, _ = guarded("metric: resolved, direction: higher, margin: {absolute: 0.025}", 2.0, some)
    assert found["resolved"][3] == MISSING
    assert np.delete(found["resolved"], 3).tolist() == [650_000] * 99


def test_a_metric_that_nobody_recorded_cannot_be_harmed() -> None:
    assert guarded("metric: cost_usd, direction: lower, margin: {relative: 0.1}", 2.0, requests(100))[0] == {}


@pytest.mark.parametrize(
    ("guardrail", "times", "text"),
    [
        ("metric: latency_ms, direction: lower, margin: {relative: 0.1}", 2.0, "latency_ms +20 %"),
        ("metric: latency_ms, direction: lower, margin: {absolute: 30}", 2.0, "latency_ms +60"),
        ("metric: resolved, direction: higher, margin: {absolute: 0.02}", 2.0, "resolved −0.04"),
        ("metric: latency_ms, direction: lower, margin: {relative: 0}", 2.0, "latency_ms +20 %"),
        ("metric: latency_ms, direction: lower, margin: {relative: 0}", 1.0, "latency_ms +0 %"),
        ("metric: cached_tokens, direction: higher, margin: {relative: 0.6}", 2.0, "cached_tokens −99 %"),
    ],
)
def test_the_size_is_stated_in_margins(guardrail: str, times: float, text: str) -> None:
    experiment = parse_experiment(spec(f"guardrails:\n  - {{{guardrail}}}"))
    assert harm_of(experiment, 0, times).text == text

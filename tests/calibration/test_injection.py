"""Harm of a stated size, in the metric's own columns and in no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stoploss.calibration.injection import Harm, harm_of, harmed
from stoploss.experiment import Guardrail, Margin
from stoploss.metrics import MISSING
from stoploss.spec_file import parse_experiment
from tests.calibration.traffic import SPEC, requests

EXPERIMENT = parse_experiment(SPEC)


def test_a_relative_harm_moves_the_metric_and_its_logarithm_alike() -> None:
    some = requests(1_000)
    logs = np.rint(np.log(some.metrics["latency_ms"] / 1_000) * 1e6).astype(np.int64)
    some = replace(some, metrics={**some.metrics, "latency_ms:log": logs})
    found = harmed(some, EXPERIMENT, Harm("latency_ms", 1, 0.30, None), 1)
    assert sorted(found) == ["latency_ms", "latency_ms:log"]
    assert found["latency_ms"] / some.metrics["latency_ms"] == pytest.approx(1.3, rel=1e-4)
    assert found["latency_ms:log"] - logs == pytest.approx(np.log(1.3) * 1e6, abs=20)


def test_a_rate_rises_by_its_share() -> None:
    some = requests(50_000, error_rate=0.04)
    before = some.metrics["error_rate"]
    after = harmed(some, EXPERIMENT, Harm("error_rate", 1, 0.50, None), 1)["error_rate"]
    assert after.mean() / before.mean() == pytest.approx(1.5, abs=0.03)
    assert (after >= before).all()


def test_an_absolute_harm_of_a_score_lowers_it_and_no_data_stays_no_data() -> None:
    some = requests(100)
    score = np.full(100, 700_000, np.int64)
    score[3] = MISSING
    some = replace(some, metrics={**some.metrics, "resolved": score})
    after = harmed(some, EXPERIMENT, Harm("resolved", -1, None, 0.05), 1)["resolved"]
    assert after[3] == MISSING
    assert np.delete(after, 3).tolist() == [650_000] * 99


def test_a_metric_that_nobody_recorded_cannot_be_harmed() -> None:
    assert harmed(requests(100), EXPERIMENT, Harm("cost_usd", 1, 0.5, None), 1) == {}


@pytest.mark.parametrize(
    ("margin", "times", "text"),
    [
        (Margin(relative=0.1), 2.0, "latency_ms +20 %"),
        (Margin(absolute=30.0), 2.0, "latency_ms +60"),
        (Margin(relative=0.0), 2.0, "latency_ms +20 %"),
        (Margin(relative=0.0), 1.0, "latency_ms +0 %"),
    ],
)
def test_the_size_is_stated_in_margins(margin: Margin, times: float, text: str) -> None:
    assert harm_of(Guardrail(metric="latency_ms", direction="lower", margin=margin), times).text == text

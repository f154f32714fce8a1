"""Judged by others' data: a real request log goes through A/A calibration, and no promise is broken.

Arrival times and token counts are those of the log; users, latency, errors, scores and assignment are drawn.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stoploss.calibration.findings import promised_stops, stop_rates
from stoploss.calibration.promises import promises
from stoploss.calibration.recording import Recording, of_arrivals
from stoploss.calibration.resample import Resampler
from stoploss.calibration.trials import Staging, Trial, harmless
from stoploss.spec.file import parse_experiment
from tests.timelines import spec

ROOT = Path(__file__).parents[2]
LOG = Path(os.environ.get("STOPLOSS_REQUEST_LOG", ROOT.parent / "shared" / "data" / "azure_llm_2023_conv.csv"))
TEXT = spec(
    """
guardrails:
  - {metric: output_tokens, direction: lower, margin: {relative: 0.05}, alpha: 0.01, action: rollback}
  - {metric: input_tokens, direction: lower, margin: {relative: 0.05}, alpha: 0.01, action: rollback}
  - {metric: error_rate, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}
gates: [undeclared_tool, undeclared_mcp_server]
"""
)
EXPERIMENT = parse_experiment(TEXT)

pytestmark = pytest.mark.skipif(not LOG.exists(), reason="the request log is not here")


@pytest.fixture(scope="module")
def recording() -> Recording:
    return of_arrivals(LOG, EXPERIMENT, seed=1)


def assert_kept(recording: Recording, runs: int) -> None:
    """No more stops than the promises allow, with every margin at 0: by rule, and all together."""
    _, hardest = harmless(TEXT)
    staging = Staging(EXPERIMENT, exposure=0.5, looks=24, seed=1)
    ended = list(map(Trial(Resampler(recording.requests), staging, hardest), range(runs)))
    given = promises(EXPERIMENT)
    rates = [*stop_rates(ended, given), promised_stops(ended, given)]
    assert [rate for rate in rates if rate.kept is False] == []
    gate = next(rate for rate in rates if rate.watches == "gate")
    assert gate.stopped == 0, "the log's answers hold no personal data, and its steps are declared"


def test_twelve_assignments_of_the_real_request_log_keep_every_promise(recording: Recording) -> None:
    assert_kept(recording, runs=12)


@pytest.mark.slow
def test_two_hundred_assignments_of_the_real_request_log_keep_every_promise(recording: Recording) -> None:
    assert_kept(recording, runs=200)

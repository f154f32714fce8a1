"""What is asked of the judge: nothing, with margins and without, and harm for every guardrail."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoploss.calibration.resample import Resampler
from stoploss.calibration.trials import Staging, Trial, harmful, harmless, usual_exposure
from stoploss.spec.file import parse_experiment
from tests.calibration.traffic import SPEC, requests

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
EXPERIMENT = parse_experiment(SPEC)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_without_margins_an_experiment_is_the_same_but_for_its_margins(file: Path) -> None:
    """Whatever the spec says besides must be accepted again, twins of one metric too."""
    as_written, hardest = harmless(file.read_text())
    before, after = parse_experiment(as_written.text).spec, parse_experiment(hardest.text).spec
    assert all((g.margin.relative or g.margin.absolute or 0.0) < 1e-7 for g in after.guardrails)
    assert [g.model_dump(exclude={"margin"}) for g in after.guardrails] == [
        g.model_dump(exclude={"margin"}) for g in before.guardrails
    ]
    assert after.model_dump(exclude={"guardrails"}) == before.model_dump(exclude={"guardrails"})


def test_a_control_arm_is_left_to_compare_with() -> None:
    stages = {"[0.1, 0.5, 1.0]": 0.5, "[1.0]": 0.5, "[0.05]": 0.05}
    for written, exposure in stages.items():
        text = SPEC.replace("stages: [0.5]", f"stages: {written}")
        assert usual_exposure(parse_experiment(text)) == exposure


def test_every_guardrail_is_harmed_alone_in_every_size() -> None:
    asked = harmful(SPEC, EXPERIMENT, (2.0, 4.0))
    assert [(scenario.name, scenario.rule) for scenario in asked] == [
        ("latency_ms +20 %", "guardrail[0]"),
        ("latency_ms +40 %", "guardrail[0]"),
        ("error_rate +50 %", "guardrail[1]"),
        ("error_rate +100 %", "guardrail[1]"),
    ]


def test_runs_differ_and_the_same_run_is_the_same_again() -> None:
    resampler, staging = Resampler(requests(1_000, users=500)), Staging(EXPERIMENT, 0.5, 5, seed=3)
    trial = Trial(resampler, staging, harmless(SPEC)[0])
    assert trial(1) == trial(1)
    assert trial(1) != trial(0)

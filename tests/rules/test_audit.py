from __future__ import annotations

import numpy as np
import pytest

from tests.timelines import Timeline, Traces, actions, spec

AUDIT = "health: {sampleRatio: off, audit: {score: judge-agrees, min: 0.8}}"


def audited(n: int, agreement: float, seed: int) -> Traces:
    rng = np.random.default_rng(seed)
    agrees = (rng.random(n) < agreement).astype(np.int64) * 1_000_000
    return Traces(
        rng.integers(0, 2, n).astype(np.uint8),
        rng.integers(0, 2**64, n, dtype=np.uint64),
        {"judge-agrees": agrees},
    )


def run(agreements: list[float], text: str = AUDIT) -> Timeline:
    timeline = Timeline(spec(text)).started()
    for seed, agreement in enumerate(agreements):
        timeline.seconds(1)
        timeline.traces(audited(40, agreement, seed), outcomes=True)
    timeline.seconds(1)
    return timeline


def test_e7_a_judge_that_people_contradict_holds_and_the_agreement_has_its_interval() -> None:
    timeline = run([0.6] * 8)
    [finding] = timeline.breaches
    assert (finding.reason, finding.severity, timeline.it.lifecycle) == ("people_disagree", "hold", "holding")
    evidence = finding.evidence
    assert evidence.lower is not None
    assert evidence.upper is not None
    assert evidence.lower < 0.6 < evidence.upper < 0.8
    assert "people agree with the judge too seldom" in finding.sentence


def test_a_judge_that_people_agree_with_is_said_to_be_one() -> None:
    [finding] = run([0.95] * 8).findings
    assert (finding.verdict, finding.reason) == ("safe", "people_agree")


@pytest.mark.parametrize("agreement", [0.8, 0.82])
def test_an_agreement_near_the_wanted_one_is_undecided(agreement: float) -> None:
    assert run([agreement] * 10).findings == []


def test_an_audit_may_pause() -> None:
    assert actions(run([0.5] * 8, AUDIT.replace("min: 0.8", "min: 0.8, do: pause"))) == ["set_exposure", "pause"]


def test_a_judge_that_goes_astray_after_thousands_of_audits_is_noticed() -> None:
    timeline = run([0.95] * 126 + [0.6] * 10)
    assert [finding.reason for finding in timeline.findings] == ["people_agree", "people_disagree"]

"""What the plan predicts, held against the judge itself: median and four fifths of simulated stopping times."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from stoploss.calibration.findings import stops_of
from stoploss.calibration.injection import harm_of, harmed
from stoploss.calibration.judged import as_judged
from stoploss.calibration.rehearsal import Plot, rehearse
from stoploss.planning import baseline, flow
from stoploss.planning.detection import NEVER, Watch, hours_to_find
from stoploss.spec.file import parse_experiment
from tests.calibration.traffic import QUICK, requests
from tests.timelines import spec

LATENCY = "{metric: latency_ms, direction: lower, margin: {relative: 0.10}, alpha: 0.01}"
ERRORS = "{metric: error_rate, direction: lower, margin: {relative: 0.25}, alpha: 0.01}"


@dataclass(frozen=True)
class Case:
    """Traffic of one request a second, a harm in margins, and a look every `look_s` seconds."""

    guardrail: str
    times: float
    exposure: float = 0.5
    n: int = 8_000
    look_s: int = 100
    traffic: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return spec(f"guardrails:\n  - {self.guardrail}", QUICK)

    def watch(self) -> tuple[Watch, float]:
        """The guardrail over one recording, and the harm's size."""
        harm, some = harm_of(parse_experiment(self.text), 0, self.times), requests(self.n, seed=1, **self.traffic)
        known = baseline.recorded(some, as_judged(some, harm.plan))
        assert known is not None
        return Watch(harm.plan, known, flow.recorded(some), self.exposure), harm.size

    def predicted(self) -> list[float]:
        """Requests until half and four fifths of the runs are stopped."""
        watch, size = self.watch()
        return [watch.flow.requests_by(hours_to_find(watch, size, share)) for share in (0.5, 0.8)]

    def simulated(self, runs: int) -> list[float]:
        """The same, of the judge's own step on fresh requests."""
        found = sorted(self._stopped(run) for run in range(runs))
        return [found[math.ceil(share * runs) - 1] - self.look_s / 2 for share in (0.5, 0.8)]

    def _stopped(self, run: int) -> float:
        some = requests(self.n, seed=100 + run, **self.traffic)
        columns = harmed(some, harm_of(parse_experiment(self.text), 0, self.times), run)
        ended = rehearse(some, Plot(self.text, self.exposure, run, self.look_s, ticks_every=50, harmed=columns))
        return next((alarm.requests for alarm in stops_of(ended) if alarm.rule == "guardrail[0]"), math.inf)


ALIKE = {"error_rate": 0.0, "users": 1_500, "icc": 0.3}
OFTEN = {"error_rate": 0.05, "users": 2_000}
TAIL = "{metric: latency_ms, direction: lower, transform: exceedance, margin: {relative: 0.5}, alpha: 0.01}"
CASES = {
    "a mean": Case(LATENCY, 2.0, traffic={"error_rate": 0.0}),
    "a mean at 10 %": Case(LATENCY, 3.0, 0.10, 9_000, traffic={"error_rate": 0.0, "users": 6_000}),
    "a mean of users who are alike": Case(
        LATENCY, 2.0, n=12_000, traffic={"error_rate": 0.0, "users": 1_500, "icc": 0.3}
    ),
    "a rate of users who come once": Case(ERRORS, 6.0, n=12_000, traffic={"users": 6_000}),
    "a rate at 10 %": Case(ERRORS, 8.0, 0.10, 16_000, traffic={"users": 8_000}),
    "a rate of users who come back": Case(
        ERRORS, 4.0, n=20_000, look_s=200, traffic={"users": 2_000, "error_rate": 0.05}
    ),
    "a tail whose threshold is frozen": Case(
        TAIL, 2.0, n=24_000, look_s=200, traffic={"users": 6_000, "error_rate": 0.0}
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_predicted_delays_are_within_a_quarter_of_simulated_ones(case: Case) -> None:
    """200 runs: the simulated median itself is known to about 5 %."""
    assert case.predicted() == pytest.approx(case.simulated(200), rel=0.25)


def test_the_prediction_for_a_mean_is_near_the_judges_own_stops() -> None:
    """The same in small: 25 runs know their median to 15 %."""
    case = CASES["a mean"]
    assert case.predicted()[0] == pytest.approx(case.simulated(25)[0], rel=0.4)


def test_more_harm_more_traffic_and_equal_arms_find_it_sooner() -> None:
    watch, size = CASES["a mean"].watch()
    half = hours_to_find(watch, size, 0.5)
    lopsided = Watch(watch.plan, watch.baseline, watch.flow, 0.1)
    assert hours_to_find(watch, 2 * size, 0.5) < half < hours_to_find(watch, size, 0.8)
    assert half < hours_to_find(lopsided, size, 0.5)


def test_a_harm_within_the_margin_is_never_found() -> None:
    watch, _ = CASES["a mean"].watch()
    assert hours_to_find(watch, 0.10, 0.5) == NEVER
    assert hours_to_find(Watch(watch.plan, watch.baseline, watch.flow, 1.0), 0.50, 0.5) == NEVER


def test_a_guardrail_waits_for_its_units() -> None:
    """A harm so gross that only the floor of 200 units a arm stands before its stop."""
    watch, _ = CASES["a mean"].watch()
    found = hours_to_find(watch, 9.0, 0.5)
    assert watch.flow.units_by(found) == pytest.approx(400, rel=0.02)

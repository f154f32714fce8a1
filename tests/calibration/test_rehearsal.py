"""A rehearsal is the judge's own step on a ledger of its own: what stops there would stop in production."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stoploss.calibration.chance import keyed, uniform
from stoploss.calibration.injection import harm_of, harmed
from stoploss.calibration.rehearsal import Ended, Plot, rehearse
from stoploss.calibration.requests import Requests
from stoploss.spec.file import parse_experiment
from tests.calibration.traffic import QUICK, SPEC, measured, requests
from tests.timelines import spec

EXPERIMENT = parse_experiment(SPEC)


def slower(some: Requests) -> dict[str, np.ndarray]:
    """Latency of the treatment at five times its margin: 50 % more."""
    return harmed(some, harm_of(EXPERIMENT, 0, 5.0), 1)


def played(some: Requests, text: str = SPEC, *, harm: bool = False, **changes: object) -> Ended:
    columns = slower(some) if harm else {}
    plot = Plot(text, 0.5, 1, 100, harmed=columns)
    return rehearse(some, replace(plot, **changes))  # type: ignore[arg-type]


def test_without_harm_nothing_happens() -> None:
    ended = played(requests(4_000))
    assert ended.alarms == ()
    assert ended.requests == 4_000
    assert 1_800 < ended.treated_if_unstopped < 2_200


def test_a_harm_is_found_by_its_guardrail_and_ends_the_run() -> None:
    (alarm,) = played(requests(4_000), harm=True).alarms
    assert (alarm.rule, alarm.stream, alarm.action) == ("guardrail[0]", "everybody", "rollback")
    assert alarm.requests < 2_000
    assert alarm.treated < alarm.units <= alarm.requests
    assert 0 < alarm.hours < 2_000 / 3_600


def test_harm_strikes_the_treatment_alone() -> None:
    """In both arms it would be no difference, and would not be found."""
    some = requests(4_000)
    both = replace(some, metrics={**some.metrics, **slower(some)})
    assert played(both).alarms == ()


def test_a_gate_of_the_treatment_stops_at_once_and_one_of_control_holds() -> None:
    some = requests(1_000)
    for row, action in ((200, "stop"), (201, "hold")):
        treated = next(at for at in range(row, 1_000) if (played_in_treatment(some, at)) is (action == "stop"))
        gates = np.zeros(1_000, np.uint32)
        gates[treated] = 1
        ended = played(replace(some, gates=gates, details={treated: "a card"}))
        assert [(alarm.rule, alarm.action) for alarm in ended.alarms] == [("gate", action)]


def played_in_treatment(some: Requests, row: int) -> bool:
    return bool(uniform(keyed(some.unit[row : row + 1], 1))[0] < 0.5)


def test_silence_is_heard_in_the_seconds_of_the_recording() -> None:
    text = spec("health: {silence: {after: 2m, do: pause}}")
    steady = requests(1_000, gap_s=1.0)
    assert played(steady, text).alarms == ()
    for gap_s, expected in ((110, []), (130, ["silence"])):
        broken = replace(steady, at=steady.at + np.where(np.arange(1_000) >= 500, gap_s * 1_000_000, 0))
        assert [alarm.rule for alarm in played(broken, text).alarms][:1] == expected


def test_the_share_follows_a_throttle() -> None:
    text = spec("budgets: [{metric: cost_usd, limit: 1, period: 24h, actions: [{burn: 14.4, do: throttle, to: 0.1}]}]")
    ended = played(measured(requests(4_000), "cost_usd", np.full(4_000, 10**9)), text)
    acted = [(alarm.rule, alarm.action) for alarm in ended.alarms if alarm.action != "none"]
    assert acted == [("budget[0]", "throttle")], "once throttled to a tenth, it burns no longer"


def test_a_segment_that_is_harmed_alone_is_stopped_alone_and_the_run_goes_on() -> None:
    text = spec(
        """
        segments: [tenant]
        guardrails:
          - {metric: latency_ms, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}
        """,
        QUICK,
    )
    some = requests(12_000, users=6_000, sigma=0.3, error_rate=0.0, tenants=("acme", "zeta", "orion", "lumen"))
    latency = some.metrics["latency_ms"]
    struck = np.where(some.segments["tenant"].codes == 1, latency * 3 // 2, latency)
    (alarm,) = played(some, text, harmed={"latency_ms": struck}).alarms
    assert (alarm.action, alarm.segment, alarm.stream) == ("stop_segment", True, "tenant=zeta")


def test_looks_and_their_ticks_change_nothing_but_when_a_stop_is_seen() -> None:
    some = requests(4_000)
    often, rarely = (played(some, harm=True, look_every_s=every, ticks_every=k) for every, k in ((50, 1), (200, 5)))
    assert often.alarms[0].rule == rarely.alarms[0].rule
    assert often.alarms[0].requests <= rarely.alarms[0].requests <= often.alarms[0].requests + 400


def test_a_seed_decides_who_is_treated_and_the_same_seed_decides_alike() -> None:
    some = requests(2_000)
    assert played(some, seed=1) == played(some, seed=1)
    assert played(some, seed=1).treated_if_unstopped != played(some, seed=2).treated_if_unstopped

from __future__ import annotations

import numpy as np
import pytest
from river.drift import PageHinkley

from stoploss import snapshot
from stoploss.errors import InvalidExperiment
from stoploss.lifecycle import Lifecycle
from stoploss.rules.detectors import Detector
from stoploss.rules.drift import window_means
from stoploss.spec.file import parse_experiment
from tests.timelines import SECRET, Timeline, Traces, actions, of_arm, spec, traces

DRIFT = "drift: [{metric: output_tokens}]\nhealth: {sampleRatio: off}"


def traffic(tokens: tuple[int, int], seconds: int, *, seed: int, share: float = 0.5, rows: int = 600) -> list[Traces]:
    return [traces(rows, seed=seed + s, users=50_000, share=share, tokens=tokens) for s in range(seconds)]


def run(parts: list[Traces], text: str = DRIFT, block_rows: int = 600) -> Timeline:
    timeline = Timeline(spec(text)).started()
    for some in parts:
        timeline.seconds(1)
        timeline.traces(some, block_rows=block_rows)
    timeline.seconds(1)
    return timeline


def test_a_variant_that_moves_alone_is_named_and_paused() -> None:
    timeline = run([*traffic((225, 225), 10, seed=0), *traffic((225, 325), 6, seed=50)])
    [finding] = timeline.breaches
    assert (finding.reason, finding.severity) == ("variant_moved", "page")
    assert actions(timeline) == ["set_exposure", "pause"]
    assert "variant 'small' drifted" in finding.sentence
    assert finding.evidence.observed == pytest.approx(100, abs=15)
    assert finding.evidence.bound == pytest.approx(0, abs=15)


def test_a_world_that_moves_both_arms_holds_and_pauses_nothing() -> None:
    timeline = run([*traffic((225, 225), 10, seed=0), *traffic((325, 325), 6, seed=50)])
    [finding] = timeline.breaches
    assert finding.reason == "world_moved"
    assert actions(timeline) == ["set_exposure"]
    assert timeline.it.lifecycle == Lifecycle.HOLDING
    assert "not the variant" in finding.sentence


def test_a_control_that_moves_alone_is_named_and_holds() -> None:
    timeline = run([*traffic((225, 225), 10, seed=0), *traffic((325, 225), 6, seed=50)])
    [finding] = timeline.breaches
    assert finding.reason == "control_moved"
    assert (actions(timeline), timeline.it.lifecycle) == (["set_exposure"], Lifecycle.HOLDING)


def test_whose_drift_it_is_stays_undecided_until_the_other_arm_has_seen_as_much() -> None:
    """At 90/10 a shift of the world shows in control first; it must not be taken for a drift of control alone."""
    before = traffic((225, 225), 40, seed=0, share=0.1, rows=900)
    timeline = run([*before, *traffic((325, 325), 2, seed=70, share=0.1, rows=900)])
    assert timeline.it.current.rules["drift[0]"].since is not None  # type: ignore[union-attr]
    assert timeline.findings == []
    timeline.seconds(10)
    shown = next(v for v in timeline.measures()[-1].verdicts if v.rule == "drift[0]")
    assert (shown.verdict, shown.reason) == ("undecided", "other_arm_pending")
    for some in traffic((325, 325), 8, seed=80, share=0.1, rows=900):
        timeline.seconds(1)
        timeline.traces(some)
    timeline.seconds(1)
    assert [finding.reason for finding in timeline.breaches] == ["world_moved"]


@pytest.mark.parametrize("share", [0.5, 0.1, 0.03])
@pytest.mark.parametrize(
    ("after", "reason"),
    [((325, 325), "world_moved"), ((225, 325), "variant_moved"), ((325, 225), "control_moved")],
)
def test_the_shift_is_put_down_to_whoever_made_it_at_every_share(
    after: tuple[int, int], reason: str, share: float
) -> None:
    before = traffic((225, 225), 25, seed=0, share=share, rows=900)
    timeline = run([*before, *traffic(after, 45, seed=500, share=share, rows=900)], block_rows=900)
    [finding] = timeline.breaches
    assert finding.reason == reason
    shifts = (finding.evidence.bound, finding.evidence.observed)
    for shift, level in zip(shifts, after, strict=True):
        assert shift == pytest.approx(level - 225, abs=40)


def test_no_drift_is_found_in_steady_traffic() -> None:
    assert run(traffic((225, 225), 60, seed=0)).findings == []


def test_users_that_differ_from_each_other_are_no_drift() -> None:
    """Sessions of ten alike traces, one after the other, alarm a detector that is fed with traces."""
    parts = []
    for second in range(40):
        some = traces(600, seed=second, users=50_000)
        level = np.random.default_rng(second).integers(-150, 150, 60)
        units = np.random.default_rng(900 + second).integers(0, 2**64, 60, dtype=np.uint64)
        order = np.repeat(np.arange(60), 10)
        some.unit, some.variant = units[order], (units[order] & np.uint64(1)).astype(np.uint8)
        some.metrics["output_tokens"] = 225 + level[order] + np.random.default_rng(second).integers(-20, 20, 600)
        parts.append(some)
    assert run(parts).findings == []


def test_an_action_of_none_says_it_and_holds() -> None:
    text = "drift: [{metric: output_tokens, action: none}]\nhealth: {sampleRatio: off}"
    timeline = run([*traffic((225, 225), 10, seed=0), *traffic((225, 325), 6, seed=50)], text)
    assert [finding.reason for finding in timeline.breaches] == ["variant_moved"]
    assert (actions(timeline), timeline.it.lifecycle) == (["set_exposure"], Lifecycle.HOLDING)


@pytest.mark.parametrize("block_rows", [37, 150, 599])
def test_how_rows_are_cut_into_blocks_changes_nothing_of_the_finding(block_rows: int) -> None:
    parts = [*traffic((225, 225), 10, seed=0), *traffic((225, 290), 8, seed=50)]
    whole, cut = run(parts), run(parts, block_rows=block_rows)
    assert [f.sentence for f in whole.findings] == [f.sentence for f in cut.findings] != []
    first, second = (snapshot.dump(t.it.current.rules["drift[0]"], SECRET) for t in (whole, cut))
    assert first == second


def test_one_arm_alone_finds_nothing_and_forgets_nothing() -> None:
    parts = [of_arm(some, 0) for some in traffic((225, 225), 20, seed=0)]
    timeline = run(parts)
    assert timeline.findings == []
    arms = timeline.it.current.rules["drift[0]"].arms  # type: ignore[union-attr]
    assert (arms[0].fed > 100, arms[1].fed) == (True, 0)


def test_a_constant_metric_neither_drifts_nor_fails() -> None:
    parts = traffic((225, 225), 10, seed=0)
    for some in parts:
        some.metrics["output_tokens"][:] = 100
    assert run(parts).findings == []


@pytest.mark.parametrize("name", ["ADWIN", "PageHinkley"])
def test_a_detector_goes_on_after_a_restore_as_if_there_had_been_none(name: str) -> None:
    values = np.random.default_rng(5).normal(0, 1, 4_000)
    values[2_000:] += 1.0
    kept, restored = Detector(name, {}), Detector(name, {})
    fired = 0
    for number, value in enumerate(values.tolist()):
        if number % 100 == 0:
            restored = Detector.from_plain(restored.to_plain())
        fires = kept.update(value)
        assert fires == restored.update(value)
        fired += fires
    assert fired
    assert kept.to_plain() == restored.to_plain()


def test_parameters_of_a_detector_survive_a_restore() -> None:
    detector = Detector("ADWIN", {"delta": 0.1, "clock": 8.0})
    assert Detector.from_plain(detector.to_plain()).params == {"delta": 0.1, "clock": 8.0}


@pytest.mark.parametrize("seed", range(3))
def test_page_hinkley_is_rivers_step_by_step(seed: int) -> None:
    """A state that is saved and restored at every value alarms where river's own object does."""
    values = np.random.default_rng(seed).normal(0, 1, 1_500)
    values[700:] += 2.0
    river, restored = PageHinkley(), Detector("PageHinkley", {})
    for value in values.tolist():
        river.update(value)
        restored = Detector.from_plain(restored.to_plain())
        assert restored.update(value) == river.drift_detected


def test_page_hinkley_finds_a_variant_that_moves_alone() -> None:
    text = DRIFT.replace("output_tokens", "output_tokens, detector: PageHinkley, params: {threshold: 20}")
    timeline = run([*traffic((225, 225), 10, seed=0), *traffic((225, 325), 6, seed=50)], text)
    assert [finding.reason for finding in timeline.breaches] == ["variant_moved"]
    assert actions(timeline) == ["set_exposure", "pause"]


@pytest.mark.parametrize("name", ["KSWIN", "DDM", "EDDM", "FHDDM", "HDDM_A", "HDDM_W"])
def test_other_detectors_are_refused_with_what_was_measured(name: str) -> None:
    with pytest.raises(InvalidExperiment, match=f"'{name}' is refused: .*(values|shifts).*use ADWIN or PageHinkley"):
        parse_experiment(spec(f"drift: [{{metric: output_tokens, detector: {name}}}]"))


def test_page_hinkley_that_alarms_in_steady_traffic_finds_no_drift() -> None:
    """At its own threshold it gives some 600 false alarms per million values; none of them is a shift."""
    text = DRIFT.replace("output_tokens", "output_tokens, detector: PageHinkley, params: {threshold: 6}")
    timeline = run(traffic((225, 225), 90, seed=0), text)
    assert timeline.findings == []


def test_a_window_is_the_mean_of_its_units_in_whatever_order_they_come() -> None:
    rng = np.random.default_rng(3)
    values, units = rng.integers(0, 1_000, 96), rng.integers(0, 9, 96).astype(np.uint64)
    found = window_means(values, units)
    for window in range(3):
        mine = slice(32 * window, 32 * (window + 1))
        by_unit = [values[mine][units[mine] == unit].mean() for unit in np.unique(units[mine])]
        assert found[window] == pytest.approx(np.mean(by_unit), rel=1e-12)
        order = rng.permutation(32)
        assert window_means(values[mine][order], units[mine][order]) == [found[window]]


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["ADWIN", "PageHinkley"])
def test_a_million_steady_traces_of_sessions_hold_nothing(detector: str) -> None:
    """Ten alike traces in a row from each session; per trace ADWIN would give some 630 false alarms here."""
    timeline = Timeline(spec(DRIFT.replace("output_tokens", f"output_tokens, detector: {detector}"))).started()
    rng = np.random.default_rng(8)
    for _ in range(250):
        sessions = 400
        units = rng.integers(0, 2**64, sessions, dtype=np.uint64)
        tokens = np.rint(225 + np.repeat(rng.normal(0, 55, sessions), 10) + rng.normal(0, 84, 10 * sessions))
        arm = np.repeat(units & np.uint64(1), 10).astype(np.uint8)
        timeline.seconds(1)
        some = Traces(arm, np.repeat(units, 10), {"output_tokens": tokens.astype(np.int64)})
        timeline.traces(some, block_rows=4_000)
    assert timeline.findings == []

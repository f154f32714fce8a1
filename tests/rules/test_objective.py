from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from stoploss import snapshot
from stoploss.errors import InvalidExperiment
from stoploss.journal import EvidenceRefused
from stoploss.ledger import EvidenceBlock
from stoploss.metrics import MISSING
from stoploss.rules.objective import ObjectiveState
from stoploss.rules.objective_plan import ObjectivePlan
from stoploss.rules.objective_reference import REFERENCE_JUDGED, REFERENCE_UNITS, Reference
from stoploss.rules.objective_totals import rows_of
from stoploss.rules.verdict import Outcome, Reason
from stoploss.spec.checks import not_enforced_yet
from stoploss.spec.file import parse_experiment
from stoploss.state import PartitionState
from tests.rules.objectives import (
    ALIKE,
    MICRO,
    OBJECTIVE,
    Arms,
    asked,
    begun,
    last_of_reference,
    outcomes,
    scored,
    with_reference,
)
from tests.timelines import SECRET, Timeline, Traces, bytes_of, refolded, spec, stored

BETTER = Arms(resolved=(0.70, 0.78), cost_usd=(0.004, 0.002))
WORSE = Arms(resolved=(0.70, 0.55))


def compared(arms: Arms, objective: str = OBJECTIVE, traces: int = 24_000, users: int = 8_000) -> Timeline:
    """A run in which both arms did so."""
    timeline = with_reference(begun(objective), arms)
    for number in range(traces // 8_000):
        timeline.seconds(1)
        timeline.traces(scored(8_000, seed=number, arms=arms, users=users), block_rows=2_000)
    return timeline


# ---- the sum -------------------------------------------------------------------------------------


def test_the_sum_is_quality_less_cost_less_risk_at_the_prices_of_the_spec() -> None:
    """D2, D3: against plain arithmetic on the rows after the reference."""
    timeline = with_reference(begun(), BETTER)
    reference = timeline.it.current.rules["objective"].reference
    tested = scored(6_000, seed=5, arms=BETTER, users=60_000)
    timeline.traces(tested)
    complained = np.flatnonzero(np.random.default_rng(6).random(6_000) < 0.02)
    late = replace(tested, variant=tested.variant[complained], unit=tested.unit[complained], metrics={})
    timeline.traces(outcomes(late, "complaint", np.full(complained.size, MICRO)), outcomes=True)

    def difference(x: np.ndarray) -> float:
        return float(x[tested.variant == 1].mean() - x[tested.variant == 0].mean())

    q0, c0 = reference.quality, reference.cost
    risk = tested.metrics["refusal_rate"].astype(float)
    risk[complained] += 5
    wanted = {
        "quality": difference(tested.metrics["resolved"]) / q0,
        "cost": -0.2 * difference(tested.metrics["cost_usd"]) / c0,
        "risk": -0.5 * difference(risk),
    }
    said = asked(timeline)
    for name, value in wanted.items():
        assert said[name].evidence.estimate == pytest.approx(value, rel=1e-6), name
    total = sum(said[name].evidence.estimate or 0.0 for name in wanted)
    assert said["utility"].evidence.estimate == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize(
    ("arms", "outcome", "reason"),
    [
        (BETTER, Outcome.BETTER, Reason.UTILITY_ABOVE_ZERO),
        (WORSE, Outcome.WORSE, Reason.UTILITY_BELOW_ZERO),
        (ALIKE, Outcome.UNDECIDED, Reason.EVIDENCE_BETWEEN),
    ],
)
def test_better_worse_or_undecided_with_an_interval_of_the_sum_and_of_each_term(
    arms: Arms, outcome: Outcome, reason: Reason
) -> None:
    """D2."""
    said = asked(compared(arms))
    assert (said["utility"].outcome, said["utility"].reason) == (outcome, reason)
    for name in ("utility", "quality", "cost", "risk"):
        evidence = said[name].evidence
        assert evidence.lower is not None
        assert evidence.upper is not None
        assert evidence.lower < (evidence.estimate or 0.0) < evidence.upper


def test_within_the_indifference_it_is_equivalent() -> None:
    """D2: equivalence within +-indifference."""
    generous = OBJECTIVE.replace("indifference: 0.005", "indifference: 0.2")
    assert asked(compared(ALIKE, generous))["utility"].outcome == Outcome.EQUIVALENT


def test_a_worse_sum_stays_worse_until_a_person_resumes_and_commands_nothing() -> None:
    timeline = compared(WORSE)
    for number in range(4):
        timeline.seconds(1)
        timeline.traces(scored(8_000, seed=50 + number, arms=Arms(resolved=(0.60, 0.90))))
    assert asked(timeline)["utility"].outcome != Outcome.WORSE
    assert timeline.it.current.verdicts["objective/utility"].startswith("worse")
    assert len(timeline.commands) == 1


def test_a_price_that_moves_the_sum_past_zero_lies_where_the_flip_says() -> None:
    """D2: the lambda at which the verdict flips, against bisection over specs on the same ledger."""
    dear = Arms(resolved=(0.70, 0.78), cost_usd=(0.004, 0.008))
    flip = asked(compared(dear, traces=16_000))["lambda_cost"].evidence
    low, high = 0.0, 1.0
    for _ in range(5):
        middle = (low + high) / 2
        priced = OBJECTIVE.replace("lambdaCost: 0.2", f"lambdaCost: {middle}")
        better = asked(compared(dear, priced, traces=16_000))["utility"].outcome == Outcome.BETTER
        low, high = (middle, high) if better else (low, middle)
    assert flip.lower is not None
    assert low - 0.005 <= flip.lower <= high + 0.005
    assert flip.lower < (flip.estimate or 0.0) < (flip.upper or 0.0)


def test_where_no_price_turns_the_verdict_it_says_so() -> None:
    said = asked(compared(BETTER))["lambda_cost"]
    assert (said.reason, said.evidence.estimate) == (Reason.NEVER_FLIPS, None)


# ---- floors --------------------------------------------------------------------------------------


def test_below_the_reference_it_is_undecided_and_says_how_far_it_is() -> None:
    timeline = begun()
    timeline.traces(scored(400, seed=1))
    said = asked(timeline)["utility"]
    assert said.outcome == Outcome.UNDECIDED
    assert said.floor is not None
    assert said.floor.required == REFERENCE_UNITS
    assert 0 < said.floor.observed < 400


def test_partial_scoring_needs_judged_units_in_each_arm() -> None:
    """STATISTICS 0.6: 100 an arm, 200 where the arms are more uneven than 70/30."""
    timeline = with_reference(begun())
    timeline.traces(scored(3_000, seed=2, arms=replace(ALIKE, judged=0.05), users=30_000))
    floor = asked(timeline)["utility"].floor
    assert floor is not None
    assert (floor.what, floor.required) == ("judged units in the treatment arm", 100)
    timeline.traces(scored(6_000, seed=3, arms=replace(ALIKE, judged=0.08), users=30_000))
    assert asked(timeline)["utility"].floor is None


def test_a_quality_that_is_not_above_zero_is_no_measure() -> None:
    timeline = begun()
    timeline.traces(scored(5_000, seed=1, arms=Arms(resolved=(0.0, 0.5))))
    said = asked(timeline)["utility"]
    assert (said.outcome, said.reason) == (Outcome.UNDECIDED, Reason.NO_REFERENCE)
    assert "control's mean resolved is 0" in said.detail


def test_an_unknown_risk_is_no_risk_of_zero() -> None:
    """A block without the refusal column: the sum waits rather than count its traces as flawless."""
    timeline = with_reference(begun())
    some = scored(6_000, seed=4, arms=BETTER)
    del some.metrics["refusal_rate"]
    timeline.traces(some)
    assert asked(timeline)["utility"].reason == Reason.NO_CONTRAST


def test_while_harm_is_rare_it_is_taken_at_the_most_that_the_data_allow() -> None:
    """STATISTICS 0.6: no event in the treatment arm yet is no proof that there will be none."""
    flawless = replace(BETTER, resolved=(0.70, 0.71), cost_usd=(0.004, 0.004), refusals=(0.0, 0.0))
    grave = OBJECTIVE.replace("lambdaRisk: 0.5", "lambdaRisk: 5")
    said = asked(compared(flawless, grave))
    assert said["utility"].evidence.statistic == "limit at the highest risk that the data allow"
    assert (said["utility"].evidence.lower or 0.0) < (said["quality"].evidence.lower or 0.0)
    assert (said["risk"].evidence.lower or 0.0) < 0 < (said["risk"].evidence.upper or 0.0)


def test_a_rare_grave_harm_is_not_hidden_by_a_common_light_one() -> None:
    """Refusals are common and alike; of complaints, a thousand times as grave, nobody has had one yet."""
    grave = OBJECTIVE.replace("complaint, weight: 5", "complaint, weight: 1000")
    light = OBJECTIVE.replace(", {event: complaint, weight: 5}", "")
    said, without = asked(compared(BETTER, grave)), asked(compared(BETTER, light))
    assert without["utility"].outcome == Outcome.BETTER
    assert said["utility"].outcome == Outcome.UNDECIDED
    assert (said["utility"].evidence.lower or 0.0) < 0 < (without["utility"].evidence.lower or 0.0)
    assert (said["risk"].evidence.lower or 0.0) < (without["risk"].evidence.lower or 0.0)
    assert said["utility"].evidence.estimate == without["utility"].evidence.estimate


# ---- the reference -------------------------------------------------------------------------------


def test_the_reference_is_frozen_at_an_exact_row_whatever_the_cuts() -> None:
    some = scored(6_000, seed=8)
    whole, cut = begun(), begun()
    whole.traces(some, block_rows=6_000)
    cut.traces(some, block_rows=37)
    for timeline in (whole, cut):
        timeline.seconds(1)
    a, b = (timeline.it.current.rules["objective"] for timeline in (whole, cut))
    assert a.reference.frozen
    assert a.reference == b.reference
    assert snapshot.dump(a, SECRET) == snapshot.dump(b, SECRET)


def test_the_row_that_freezes_is_the_last_of_the_reference_and_the_next_the_first_of_the_test() -> None:
    timeline = begun()
    some = scored(6_000, seed=8, users=100_000)
    timeline.traces(some)
    timeline.seconds(1)
    state = timeline.it.current.rules["objective"]
    last = last_of_reference(some)
    assert state.reference.quality_n == np.count_nonzero(some.variant[: last + 1] == 0)
    assert sum(rows_of(state.run.whole().quality)) == 6_000 - last - 1


def test_with_few_scores_the_reference_waits_for_a_hundred_judged_units() -> None:
    timeline = begun()
    sparse = replace(ALIKE, judged=0.02)
    timeline.traces(scored(4_000, seed=1, arms=sparse))
    state = timeline.it.current.rules["objective"]
    assert len(state.reference.units) == REFERENCE_UNITS
    assert 0 < len(state.reference.judged) < REFERENCE_JUDGED
    floor = asked(timeline)["utility"].floor
    assert floor is not None
    assert floor.required == REFERENCE_JUDGED


def test_what_the_reference_remembers_of_units_is_bounded_and_dropped_in_the_end() -> None:
    timeline = begun()
    for number in range(6):
        timeline.traces(scored(3_000, seed=number, population=number, arms=replace(ALIKE, judged=0.0)))
    reference: Reference = timeline.it.current.rules["objective"].reference
    assert (len(reference.units), reference.frozen) == (REFERENCE_UNITS, False)
    timeline.traces(scored(3_000, seed=9))
    assert (reference.frozen, reference.units, reference.judged) == (True, {}, {})


# ---- epochs and snapshots ------------------------------------------------------------------------


def test_epochs_are_compared_within_and_added_up() -> None:
    """All rise with the second epoch, in which the treatment has more traffic: pooled, it would look better."""
    timeline = with_reference(begun())
    timeline.traces(scored(8_000, seed=1, share=0.2, users=40_000))
    timeline.seconds(1)
    timeline.it.current.rules["objective"].run.close_epoch()
    timeline.traces(scored(8_000, seed=2, share=0.8, users=40_000, arms=Arms(resolved=(0.9, 0.9))))
    quality = asked(timeline)["quality"].evidence
    assert abs(quality.estimate or 1.0) < 0.03
    assert (quality.treatment or 0.0) - (quality.control or 0.0) > 0.05


def windowed(seconds: int = 8) -> str:
    return OBJECTIVE.replace("{score: resolved}", f"{{score: resolved, closesAfter: {seconds}s}}")


def late_scores(some: Traces, chosen: np.ndarray) -> Traces:
    """The scores of some traces as outcomes of their own."""
    return Traces(some.variant[chosen], some.unit[chosen], {"resolved": some.metrics["resolved"][chosen]})


def traffic_with_late_scores(timeline: Timeline, cut: int) -> list[EvidenceBlock]:
    some = scored(3_000, seed=21, users=6_000)
    answers = late_scores(some, np.arange(3_000))
    some.metrics["resolved"] = np.full(3_000, MISSING)
    return [*timeline.blocks(some, cut), *timeline.blocks(answers, cut, outcomes=True)]


@pytest.mark.parametrize("objective", [OBJECTIVE, windowed()])
def test_cuts_into_blocks_change_no_bit_of_the_state_after_the_reference(objective: str) -> None:
    found = []
    for cut in (3_000, 53):
        timeline = with_reference(begun(objective))
        for block in traffic_with_late_scores(timeline, cut):
            timeline.append(block)
        timeline.seconds(11)
        found.append(snapshot.dump(timeline.it.current.rules["objective"], SECRET))
    assert found[0] == found[1]


def test_a_restore_between_all_entries_changes_no_byte_of_what_is_said() -> None:
    timeline = with_reference(begun(windowed()))
    for block in traffic_with_late_scores(timeline, 500):
        timeline.append(block)
    timeline.seconds(12)
    state, outputs = PartitionState(0), []
    for entry in timeline.entries:
        state = snapshot.load(PartitionState, stored(state), SECRET)
        outputs += refolded([entry], state)
    assert bytes_of(outputs) == bytes_of(timeline.outputs)


def sizes() -> Iterator[int]:
    timeline = with_reference(begun(windowed(80)))
    for number in range(60):
        timeline.seconds(2)
        timeline.traces(scored(500, seed=number, population=number))
        if number in (45, 59):
            state: ObjectiveState = timeline.it.current.rules["objective"]
            assert state.windows is not None
            yield len(state.windows.held)


def test_open_windows_are_held_in_a_bounded_number_of_slices() -> None:
    before, after = sizes()
    assert before <= 10
    assert after <= 10


# ---- windows of scores ---------------------------------------------------------------------------


def test_scores_count_when_their_window_closes_and_not_when_they_arrive() -> None:
    """The treatment reports its failures late. Counted as they come, it looks better; with windows, it never does."""
    for objective, fooled in ((OBJECTIVE, True), (windowed(), False)):
        timeline = with_reference(begun(objective))
        some = scored(20_000, seed=31, users=40_000)
        slow = (some.variant == 1) & (some.metrics["resolved"] == 0)
        quick = late_scores(some, np.flatnonzero(~slow))
        bare = replace(some, metrics={**some.metrics, "resolved": np.full(some.rows, MISSING)})
        timeline.traces(bare)
        timeline.seconds(2)
        timeline.traces(quick, outcomes=True)
        timeline.seconds(3)
        timeline.traces(late_scores(some, np.flatnonzero(slow)), outcomes=True)
        timeline.seconds(12)
        said = asked(timeline)
        assert abs(said["quality"].evidence.estimate or 1.0) < 0.05
        better = [finding for finding in timeline.findings if finding.verdict == "better"]
        assert bool(better) is fooled


def scores_judged(timeline: Timeline) -> tuple[int, int]:
    return rows_of(timeline.it.current.rules["objective"].run.whole().quality)


def test_what_comes_after_its_window_is_counted_and_never_judged() -> None:
    timeline = with_reference(begun(windowed()))
    some = scored(3_000, seed=41)
    answers = late_scores(some, np.arange(200))
    some.metrics["resolved"] = np.full(3_000, MISSING)
    timeline.traces(some)
    timeline.seconds(15)
    before = scores_judged(timeline)
    timeline.traces(answers, outcomes=True)
    timeline.seconds(15)
    assert scores_judged(timeline) == before
    # At most ten outcomes of a unit count in a day; these are all of different ones, or nearly so.
    refused = [said for said in timeline.said(EvidenceRefused) if said.cause == "scored after its window closed"]
    assert 190 <= refused[-1].rows <= 200


def test_what_an_epoch_cuts_off_is_counted_too() -> None:
    timeline = with_reference(begun(windowed()))
    timeline.traces(scored(3_000, seed=51))
    timeline.ask("pause")
    timeline.seconds(1)
    assert timeline.it.current.rules["objective"].windows.held == {}
    assert timeline.it.current.rules["objective"].windows.refused["its epoch ended before its score window closed"] > 0


# ---- the spec ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("{lambdaCost: 0.2}", "names no quality, so a gain cannot be told"),
        ("{quality: {score: latency_ms}}", "'latency_ms' is measured, not judged, so it is no quality"),
        ("{quality: {score: complaint}, risk: [{event: complaint, weight: 1}]}", "'complaint' is a harm event"),
        ("{quality: {score: tone}, risk: [{event: fire, weight: 1}]}", "unknown event 'fire'; known events: refusal, "),
        (
            "{quality: {score: tone}, risk: [{event: refusal, weight: 1}, {event: refusal, weight: 2}]}",
            "'refusal' is listed twice",
        ),
        ("{quality: {score: tone}, risk: [{event: refusal, weight: 0}]}", "greater than or equal to 0.001"),
        ("{quality: {score: tone, closesAfter: 90d}}", "less than or equal to 2592000"),
    ],
)
def test_an_objective_without_meaning_is_refused_with_the_way_out(objective: str, message: str) -> None:
    """D3."""
    with pytest.raises(InvalidExperiment, match="objective") as refused:
        parse_experiment(spec(f"objective: {objective}"))
    assert message in str(refused.value)


def test_events_without_a_price_weigh_nothing_and_registration_says_so() -> None:
    """D3: no definition, no lambdaRisk; and a definition alone is recorded, not silently dropped."""
    experiment = parse_experiment(spec("objective: {quality: {score: tone}, risk: [{event: refusal, weight: 1}]}"))
    assert "objective.risk (lambdaRisk is 0, so its events weigh nothing)" in not_enforced_yet(experiment)
    assert experiment.spec.objective is not None
    assert ObjectivePlan.of(experiment, experiment.spec.objective).events == ()

from __future__ import annotations

import pytest

from stoploss.commands import Action
from stoploss.experiment import ALWAYS_ON_GATES
from stoploss.journal import Finding
from stoploss.lifecycle import Lifecycle
from tests.timelines import EVERY_RULE, Timeline, Traces, actions, spec, traces, with_gate


def tripping(arm: int, bit: int = 0, n: int = 20) -> Traces:
    """A few traces, the last of one arm of which trips a gate."""
    some = traces(n, seed=11)
    return with_gate(some, int(n - 1 - (some.variant[::-1] == arm).argmax()), bit)


@pytest.mark.parametrize("bit", range(len(ALWAYS_ON_GATES)))
def test_the_first_event_in_the_treatment_stops_at_once_and_below_every_floor(bit: int) -> None:
    timeline = Timeline().started()
    timeline.traces(tripping(1, bit))
    command = timeline.commands[-1]
    assert (command.action, command.exposure, command.release_variant) == (Action.STOP, 0.0, "current")
    assert command.evidence is not None
    assert command.evidence.metric == ALWAYS_ON_GATES[bit]
    assert (command.evidence.observed, command.evidence.bound, command.evidence.n_treatment) == (1.0, 1.0, 1)
    assert timeline.it.lifecycle == Lifecycle.STOPPED


def test_the_sentence_says_which_variant_did_what() -> None:
    timeline = Timeline().started()
    timeline.traces(tripping(1))
    assert timeline.commands[-1].reason == (
        "stop 'checkout': gate pii_exposed was tripped by variant 'small': output_text holds a card number"
    )


def test_a_gate_in_control_freezes_and_pages_and_orders_nothing() -> None:
    timeline = Timeline().started()
    timeline.traces(tripping(0))
    assert actions(timeline) == ["set_exposure"]
    assert timeline.it.lifecycle == Lifecycle.HOLDING
    assert timeline.it.desired.exposure == 0.5
    [finding] = timeline.findings
    assert (finding.verdict, finding.severity) == ("breach", "page")
    assert "tripped by variant 'current'" in finding.sentence
    assert timeline.registry()[-1].lifecycle == "holding"


def test_a_frozen_experiment_is_still_stopped_by_its_treatment() -> None:
    timeline = Timeline().started()
    timeline.traces(tripping(0))
    timeline.traces(tripping(1))
    assert actions(timeline) == ["set_exposure", "stop"]


def test_both_arms_in_one_entry_stop_the_treatment_and_name_control_too() -> None:
    some = traces(20, seed=11)
    for arm in sorted((0, 1), key=lambda arm: int((some.variant == arm).argmax())):
        some = with_gate(some, int((some.variant == arm).argmax()), 0)
    timeline = Timeline().started()
    timeline.traces(some)
    assert actions(timeline) == ["set_exposure", "stop"]
    assert len(timeline.breaches) == 2


def test_a_declared_gate_may_roll_back_instead() -> None:
    timeline = Timeline(spec("gates: [{gate: undeclared_tool, action: rollback}]")).started()
    timeline.traces(tripping(1, bit=3))
    assert actions(timeline) == ["set_exposure", "rollback"]
    assert timeline.it.lifecycle == Lifecycle.ROLLED_BACK


def test_a_spec_may_change_the_action_of_an_always_on_gate_and_never_its_place() -> None:
    timeline = Timeline(spec("gates: [shadow_side_effect, {gate: pii_exposed, action: rollback}]")).started()
    assert [choice.gate for choice in timeline.experiment.gates] == [*ALWAYS_ON_GATES, "shadow_side_effect"]
    timeline.traces(tripping(1, bit=0))
    assert actions(timeline) == ["set_exposure", "rollback"]


def test_a_gate_is_said_once_and_counts_on() -> None:
    timeline = Timeline().started()
    for _ in range(3):
        timeline.traces(tripping(0))
    assert len(timeline.said(Finding)) == 1
    assert timeline.it.current.rules["gate"].counts[0] == [3, 0]  # type: ignore[union-attr]


def test_two_gates_of_one_trace_are_both_said() -> None:
    some = traces(20, seed=11)
    row = int((some.variant == 1).argmax())
    some = with_gate(some, row, 0, "a card number and a tool that was not declared")
    assert some.gates is not None
    some.gates[row] |= 1 << 2
    timeline = Timeline().started()
    timeline.traces(some)
    assert [f.evidence.metric for f in timeline.breaches] == ["pii_exposed", "unapproved_side_effect"]
    assert actions(timeline) == ["set_exposure", "stop"]


@pytest.mark.parametrize("action", ["pause", "gate in control"])
def test_a_gate_acts_while_paused_or_holding(action: str) -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    if action == "pause":
        timeline.ask("pause")
    else:
        timeline.traces(tripping(0))
    timeline.traces(tripping(1))
    assert timeline.it.lifecycle == Lifecycle.STOPPED


def test_a_repeated_row_trips_no_gate_again_after_a_resume() -> None:
    timeline = Timeline().started()
    [block] = timeline.blocks(tripping(1))
    timeline.append(block)
    timeline.ask("resume")
    timeline.append(block)
    assert timeline.it.lifecycle == Lifecycle.RUNNING


def test_the_time_of_the_first_harm_is_kept_with_the_stop() -> None:
    timeline = Timeline().started()
    timeline.seconds(3)
    harm_at = timeline.at
    timeline.traces(tripping(1))
    assert timeline.it.current.after_stop.first_harm_at == harm_at

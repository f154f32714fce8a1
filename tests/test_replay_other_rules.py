"""V2: a recorded experiment under another spec: sooner, later or new stops, and the exposures that they are about."""

from __future__ import annotations

from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest

from stoploss.errors import InvalidExperiment
from stoploss.replaying.other_rules import OtherRules, RuleCompared, under_other_rules
from stoploss.replaying.picture import picture
from stoploss.replaying.tables import other_rules_view, run_sentence
from tests.test_replay import recorded
from tests.timelines import SPEC, Timeline, merged, shuffled, spec, traces, with_gate

TOPIC = "stoploss.control"


def watching(margin: float = 0.1, alpha: float = 0.01, more: str = "") -> str:
    bounds = f"margin: {{relative: {margin}}}, alpha: {alpha}"
    guardrail = f"{{metric: error_rate, direction: lower, {bounds}, action: rollback}}"
    return spec(f"segments: [tenant]\nguardrails: [{guardrail}]\n{more}")


@cache
def failing(text: str) -> Timeline:
    """Three of ten requests of the treatment fail; after a stop all are served by control."""
    timeline = Timeline(text).started()
    for second in range(20):
        timeline.seconds(1)
        some = traces(200, seed=second, users=20_000, error_rate=(0.05, 0.3), tenant="acme")
        if timeline.commands[-1].action == "rollback":
            some.variant[:] = 0
        timeline.traces(some, block_rows=50)
    timeline.seconds(3)
    return timeline


def under(timeline: Timeline, text: str) -> OtherRules:
    reproduced, found = under_other_rules(recorded(timeline), text, "other.yaml", None, TOPIC)
    assert reproduced.identical
    return found


def the_rule(found: OtherRules, rule: str) -> RuleCompared:
    (one,) = [compared for run in found.runs for compared in run.rules if compared.rule == rule]
    return one


def test_the_same_spec_does_the_same() -> None:
    (run,) = under(failing(watching()), watching()).runs
    assert run.recorded_stop == run.other_stop
    assert [rule.change for rule in run.rules] == ["same"]
    assert (run.exposures_saved, run.exposures_added) == (0, 0)


EVENTFUL = spec(
    """
segments: [tenant]
guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.5}, action: rollback}]
budgets: [{metric: cost_usd, limit: 100, period: 10m, actions: [{burn: 6, do: throttle, to: 0.2}]}]
gates: [undeclared_tool]
drift: [{metric: output_tokens}]
""",
    SPEC.replace("control: current}", "control: current, controllers: [flagd]}"),
)


@cache
def eventful() -> Timeline:
    """A tenant stopped, a throttle, a pause and a resume by a person, both again, and a gate; all are acked."""
    timeline = Timeline(EVENTFUL).started()
    for second in range(24):
        timeline.seconds(1)
        if second == 14:
            timeline.ask("pause")
        if second == 16:
            timeline.ask("resume", exposure=0.4)
        timeline.ack("flagd")
        share = timeline.it.desired.exposure
        bad = traces(150, seed=second, users=3_000, population=1, share=share, error_rate=(0.2, 0.9), tenant="acme")
        good = traces(500, seed=90 + second, users=20_000, share=share, error_rate=(0.2, 0.2), tenant="zeta")
        some = shuffled(merged(bad, good), second)
        timeline.traces(with_gate(some, int(some.variant.argmax()), 0) if second == 20 else some, block_rows=325)
    timeline.seconds(4)
    return timeline


def test_a_spec_does_the_same_as_itself_whatever_happens() -> None:
    """Throttles, a stopped segment, epochs, acks, a pause and a resume: the two judges stay together."""
    timeline = eventful()
    found = under(timeline, EVENTFUL)
    rules = [rule for run in found.runs for rule in run.rules]
    actions = [rule.recorded.action for rule in rules if rule.recorded is not None]
    assert actions == ["stop_segment", "throttle", "pause", "stop_segment", "throttle", "stop"]
    assert {rule.change for rule in rules} == {"same"}
    assert all(run.exposures_saved == run.exposures_added == 0 for run in found.runs)


def test_other_rules_go_on_in_the_recorded_epochs_where_the_recorded_ones_throttled_and_stopped_a_segment() -> None:
    """The other throttles nobody, but the traffic was throttled: the two shares are never compared in one epoch."""
    timeline = eventful()
    other = EVENTFUL.replace("burn: 6", "burn: 1000").replace("margin: {relative: 0.5}", "margin: {relative: 90}")
    found = under(timeline, other)
    changes = {(run.run, rule.rule, rule.stream): rule.change for run in found.runs for rule in run.rules}
    assert changes[1, "guardrail error_rate", "tenant=acme"] == "not stopped"
    assert {change for key, change in changes.items() if key[1].startswith("budget")} == {"not stopped"}
    assert not any(key[1].startswith(("sample", "over")) for key in changes)
    assert changes[2, "gate", "pii_exposed"] == "same"


def test_a_stricter_spec_stops_sooner_and_saves_the_exposures_between_the_two_stops() -> None:
    lenient, strict = watching(margin=2.0, alpha=1e-6), watching(margin=0.0, alpha=0.05)
    timeline = failing(lenient)
    found = under(timeline, strict)
    (run,) = found.runs
    assert run.other_stop is not None
    assert run.recorded_stop is not None
    assert run.other_stop < run.recorded_stop
    rule = the_rule(found, "guardrail error_rate")
    assert rule.change == "sooner"
    assert rule.exposures_saved == run.exposures_saved == served_between(timeline, run.other_stop, run.recorded_stop)
    assert run.exposures_added == 0


def served_between(timeline: Timeline, from_hours: float, to_hours: float) -> int:
    """Counted from the blocks: requests of the treatment that began between two times."""
    began = timeline.entries[1].at
    first, last = (began + round(hours * 3_600_000_000) for hours in (from_hours, to_hours))
    blocks = [entry.fact for entry in timeline.entries if hasattr(entry.fact, "variant")]
    start = np.concatenate([np.frombuffer(block.start, "<i8") for block in blocks])
    variant = np.concatenate([np.frombuffer(block.variant, "u1") for block in blocks])
    return int(np.count_nonzero((variant == 1) & (start > first) & (start <= last)))


def test_a_laxer_spec_lets_the_harm_go_on_and_says_what_that_would_have_cost() -> None:
    timeline = failing(watching())
    found = under(timeline, watching(margin=50.0))
    (run,) = found.runs
    assert run.other_stop is None
    assert run.recorded_stop is not None
    rule = the_rule(found, "guardrail error_rate")
    assert (rule.change, rule.other) == ("not stopped", None)
    # After the stop, control served everybody: half of it would have been the treatment's.
    after = _variants_after(timeline, run.recorded_stop).count(0)
    assert rule.exposures_added == round(0.5 * after) > 100
    assert run.exposures_saved == 0


def _variants_after(timeline: Timeline, stop_hours: float) -> list[int]:
    at = timeline.entries[1].at + round(stop_hours * 3_600_000_000)
    found: list[int] = []
    for entry in timeline.entries:
        if hasattr(entry.fact, "variant"):
            late = np.frombuffer(entry.fact.start, "<i8") > at
            found += np.frombuffer(entry.fact.variant, "u1")[late].tolist()
    return found


def test_a_stop_that_the_recorded_run_did_not_have_is_named_with_its_cause() -> None:
    timeline = failing(watching(margin=50.0))
    assert len(timeline.commands) == 1
    found = under(timeline, watching())
    (run,) = found.runs
    (new,) = run.new_stops
    assert (new.rule, new.recorded) == ("guardrail error_rate", None)
    assert new.other is not None
    assert "error_rate" in new.other.sentence
    assert new.exposures_saved == served_between(timeline, run.other_stop or 0.0, 1.0) > 100


def test_a_segments_stop_saves_only_that_segments_exposures() -> None:
    timeline = Timeline(watching(margin=900.0)).started()
    for second in range(12):
        timeline.seconds(1)
        bad = traces(80, seed=second, users=900, population=1, error_rate=(0.2, 0.9), tenant="acme")
        good = traces(500, seed=90 + second, users=20_000, error_rate=(0.2, 0.2), tenant="zeta")
        timeline.traces(shuffled(merged(bad, good), second), block_rows=290)
    timeline.seconds(1)
    (run,) = under(timeline, watching(margin=0.5)).runs
    (new,) = run.new_stops
    assert new.other is not None
    assert new.other.action == "stop_segment"
    assert "acme" in new.stream
    assert 0 < new.exposures_saved < served_between(timeline, new.other.hours, 1.0) / 2


def test_a_recorded_resume_begins_a_new_run_under_both() -> None:
    timeline = Timeline(watching()).started()
    timeline.seconds(1)
    some = traces(200, seed=1)
    timeline.traces(with_gate(some, int((some.variant == 0).argmax()), 0))
    timeline.ask("resume", exposure=0.2)
    timeline.seconds(1)
    timeline.traces(traces(200, seed=2))
    found = under(timeline, watching(margin=0.5))
    assert [run.run for run in found.runs] == [1, 2]
    assert [rule.change for rule in found.runs[0].rules] == ["same"]


def test_a_rollout_is_a_word_on_the_recorded_spec_and_a_later_run_begins_under_both() -> None:
    """The other had stopped by then; whether its experiment would have been completed nobody can tell."""
    timeline = Timeline(watching(margin=50.0)).started()
    for second in range(20):
        timeline.seconds(1)
        timeline.traces(traces(200, seed=second, users=20_000, error_rate=(0.05, 0.3), tenant="acme"))
    timeline.ask("complete", reason="as good", body='{"decision": "rollout"}')
    assert timeline.it.lifecycle == "adopted"
    timeline.traces(traces(200, seed=30))
    timeline.ask("stop")
    timeline.ask("resume")
    timeline.traces(traces(200, seed=31))
    first, second_run = under(timeline, watching()).runs
    assert "new stop" in [rule.change for rule in first.rules]
    assert (first.exposures_saved > 0, second_run.run) == (True, 2)


def test_requests_that_the_recorded_judge_refused_are_refused_by_both() -> None:
    """The other has stopped by then, and would begin a run that never was."""
    timeline = Timeline(watching(margin=50.0)).started()
    for second in range(12):
        timeline.seconds(1)
        timeline.traces(traces(300, seed=second, users=20_000, error_rate=(0.05, 0.3), tenant="acme"))
    timeline.ask("resume")
    timeline.seconds(1)
    (run,) = under(timeline, watching()).runs
    assert run.other_stop is not None


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (watching(more="drift: [{metric: input_tokens}]"), "metric: 'input_tokens' was not recorded"),
        (watching().replace("segments: [tenant]", "segments: [tenant, channel]"), "spec.segments: 'channel' was not"),
        (watching(more="gates: [undeclared_tool]"), "spec.gates: 'undeclared_tool' was not looked for"),
        (watching().replace("scopes: [catalog.read]", "scopes: [catalog.write]"), "spec.variants: differs"),
        (watching().replace("randomisationUnit: user", "randomisationUnit: session"), "randomisationUnit: differs"),
        (watching().replace("name: checkout,", "name: another,"), "give a spec of the same experiment"),
    ],
)
def test_what_was_not_recorded_is_refused_by_name_with_the_way_out(other: str, named: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        under(failing(watching()), other)
    assert any(named in str(violation) for violation in refused.value.violations)


def test_a_gate_that_the_other_does_not_look_for_is_no_gate_of_it() -> None:
    text = watching(more="gates: [undeclared_tool]")
    timeline = Timeline(text).started()
    timeline.seconds(1)
    some = traces(200, seed=1)
    timeline.traces(with_gate(some, int(some.variant.argmax()), 3, "called deploy"))
    timeline.traces(traces(200, seed=2))
    found = under(timeline, watching())
    gate = the_rule(found, "gate")
    assert (gate.stream, gate.change) == ("undeclared_tool", "not stopped")


def test_a_gate_that_stands_elsewhere_in_the_other_spec_is_the_same_gate() -> None:
    timeline = Timeline(watching(more="gates: [undeclared_tool, undeclared_mcp_server]")).started()
    timeline.seconds(1)
    some = traces(200, seed=1)
    timeline.traces(with_gate(some, int(some.variant.argmax()), 4, "asked another server"))
    gate = the_rule(under(timeline, watching(more="gates: [undeclared_mcp_server]")), "gate")
    assert (gate.stream, gate.change) == ("undeclared_mcp_server", "same")


def test_behind_the_recorded_stop_the_other_judges_nothing_whatever_comes() -> None:
    """The stop is not obeyed, and far worse comes: but who was served by what is no longer of this experiment."""
    timeline = Timeline(watching()).started()
    for second in range(12):
        timeline.seconds(1)
        worse = 0.9 if timeline.commands[-1].action == "rollback" else 0.3
        timeline.traces(traces(200, seed=second, users=20_000, error_rate=(0.05, worse), tenant="acme"))
    (run,) = under(timeline, watching(margin=6.0)).runs
    assert run.recorded_stop is not None
    assert run.other_stop is None


def test_requests_that_intake_sent_twice_are_exposures_once() -> None:
    timeline = Timeline(watching(margin=50.0)).started()
    timeline.seconds(1)
    first, last = timeline.blocks(traces(400, seed=1, tenant="acme"), 200)
    for block in (first, first, last, first):
        timeline.append(block)
    (run,) = under(timeline, watching(margin=40.0)).runs
    assert run.exposures == sum(block.variant.count(1) for block in (first, last))


def test_the_table_and_the_picture_tell_every_rule() -> None:
    found = under(failing(watching(margin=50.0)), watching())
    drawn = ElementTree.fromstring(picture(found, "other.yaml"))
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{space}circle")) == 1
    words = [element.text or "" for element in drawn.iter(f"{space}text")]
    assert any("guardrail error_rate" in one for one in words)
    assert "would have stopped after" in run_sentence(found.runs[0])
    assert other_rules_view(found, "other.yaml").renderables


def test_windows_and_ramps_of_the_other_spec_are_not_played_for_the_exposure_is_the_recorded() -> None:
    """The run began at 14:13 on a Monday, outside of these windows, and would never have begun under them."""
    night = 'windows: [{days: Sun, from: "03:00", to: "03:01"}]\nsafeShare: 0.0'
    paced = watching(0.1, more=night).replace("{stages: [0.5]}", "{stages: [0.5, 0.9], autoAdvance: true}")
    (run,) = under(failing(watching()), paced).runs
    assert run.recorded_stop == run.other_stop
    assert [rule.change for rule in run.rules] == ["same"]

"""The pre-approved ramp: it goes on inside its windows, stage by stage, and only while nothing speaks against it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stoploss import snapshot
from stoploss.commands import Command
from stoploss.errors import InvalidExperiment
from stoploss.journal import Finding
from stoploss.lifecycle import Lifecycle
from stoploss.spec.file import parse_experiment
from stoploss.state import PartitionState
from tests.timelines import SECRET, SPEC, Timeline, actions, bytes_of, refolded, spec, stored, traces, with_gate

DOCUMENT = Path(__file__).parents[1] / "docs" / "ramps.md"
ALWAYS = 'windows: [{days: Mon-Sun, from: "00:00", to: "00:00"}]'
STAGES = "stages: [0.1, 0.3, 0.6], minDuration: 10s, minUnits: 50, autoAdvance: true, extend: 20s"


def ramp(more: str = "", extra: str = ALWAYS, stages: str = STAGES) -> str:
    """A spec whose ramp goes on by itself."""
    return spec(extra, SPEC.replace("{stages: [0.5]}", f"{{{stages}{more}}}"))


def started(text: str) -> Timeline:
    return Timeline(text).started()


def busy(timeline: Timeline, seconds: int, n: int = 100) -> list[Command]:
    """Traffic at the share that is ordered; what is ordered meanwhile."""
    before = len(timeline.commands)
    for _ in range(seconds):
        share = timeline.it.desired.exposure
        timeline.traces(traces(n, seed=len(timeline.entries), users=2_000, share=share))
        timeline.seconds(1)
    return timeline.commands[before:]


def said(timeline: Timeline, reason: str) -> list[str]:
    return [one.sentence for one in timeline.said(Finding) if one.reason == reason]


# ---- going on ----------------------------------------------------------------------------------------


def test_a_stage_that_has_its_time_and_its_units_is_passed() -> None:
    timeline = started(ramp())
    assert busy(timeline, 9) == []
    [advance] = busy(timeline, 3)
    assert (advance.action, advance.exposure, advance.run, advance.epoch) == ("set_exposure", 0.3, 1, 2)
    assert advance.expires_at is not None, "a raise expires"
    assert advance.reason.startswith("set_exposure 'checkout': the stage of 0.1 is passed: ")
    assert advance.evidence is not None
    assert len(advance.evidence.journal_ids) == 1


def test_each_stage_has_a_time_of_its_own_and_the_last_one_stays() -> None:
    timeline = started(ramp())
    ordered = busy(timeline, 60)
    assert [one.exposure for one in ordered] == [0.3, 0.6]
    assert ordered[1].decided_at - ordered[0].decided_at >= 10_000_000


def test_a_stage_has_the_time_and_the_units_that_are_its_own_and_the_others_those_of_the_ramp() -> None:
    """R1"""
    own = STAGES.replace("0.3,", "{share: 0.3, minDuration: 25s, minUnits: 300},")
    timeline = started(ramp(stages=own))
    [first] = busy(timeline, 11)
    assert first.exposure == 0.3
    assert busy(timeline, 24) == [], "the ramp's ten seconds have passed twice"
    [second] = busy(timeline, 12)
    assert second.exposure == 0.6
    assert second.evidence is not None
    assert second.evidence.bound == 300


def test_a_stage_lacks_units_by_its_own_measure_and_is_extended_as_long_as_its_own_time() -> None:
    """R1: extend before revert, of a stage with minimums of its own."""
    own = "stages: [0.1, {share: 0.3, minDuration: 15s, minUnits: 100000}, 0.6], minDuration: 5s, minUnits: 1"
    timeline = started(ramp(stages=f"{own}, autoAdvance: true, then: revert"))
    assert [one.exposure for one in busy(timeline, 7)] == [0.3]
    assert busy(timeline, 14) == []
    busy(timeline, 3)
    [words] = said(timeline, "stage_extended")
    assert "of 100,000 units have met the treatment; it goes on for up to 15 s more" in words
    [revert] = busy(timeline, 20)
    assert (revert.action, revert.exposure) == ("throttle", 0.1)
    assert "units have met the treatment after 30 s" in revert.reason


def test_an_exposure_between_two_stages_has_what_the_lower_one_needs() -> None:
    spec_of_ramp = parse_experiment(ramp(stages=STAGES.replace("0.1,", "{share: 0.1, minUnits: 7},"))).spec.ramp
    found = [spec_of_ramp.at(exposure) for exposure in (0.05, 0.2, 0.3)]
    assert [one.units for one in found] == [7, 7, 50]
    assert [one.extension_s for one in found] == [20, 20, 20]


def test_an_outage_within_a_longer_stage_counts_as_a_gap_and_no_more() -> None:
    """R2: one catch-up at most, and none where the stage's own time was not watched."""
    timeline = started(ramp(stages=STAGES.replace("0.1,", "{share: 0.1, minDuration: 20s},")))
    busy(timeline, 9)
    timeline.at += 86_400_000_000
    assert busy(timeline, 3) == [], "nine seconds, five of the outage, and three"
    assert [one.exposure for one in busy(timeline, 5)] == [0.3]


def test_a_share_alone_and_a_stage_that_says_no_more_are_the_same_spec() -> None:
    """Specs from before stages had minimums of their own keep their hash."""
    plain = parse_experiment(ramp())
    assert plain.model_dump(mode="json")["spec"]["ramp"]["stages"] == [0.1, 0.3, 0.6]
    assert parse_experiment(ramp(stages=STAGES.replace("0.3,", "{share: 0.3},"))).spec_hash == plain.spec_hash
    assert parse_experiment(ramp(stages=STAGES.replace("0.3,", "{share: 0.3, minUnits: 50},"))).spec_hash != (
        plain.spec_hash
    )


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        ("{share: 0.3, minUnits: -1}", "spec.ramp.stages[1].minUnits: Input should be greater than or equal to 0"),
        ("{share: 0.3, atLeast: 4h}", "spec.ramp.stages[1].atLeast: is no field"),
        ("{minDuration: 4h}", "spec.ramp.stages[1].share: is required"),
        ("{share: 0.3, minDuration: soon}", "spec.ramp.stages[1].minDuration: 'soon' is no duration"),
        ("{share: 0.05}", "spec.ramp: stages [0.1, 0.05, 0.6] must be above 0 and rise"),
        ("all", "spec.ramp.stages[1].share: Input should be a valid number"),
    ],
)
def test_a_stage_that_cannot_be_is_named(stage: str, fault: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        parse_experiment(ramp(stages=STAGES.replace("0.3,", f"{stage},")))
    assert fault in str(refused.value)


def test_without_auto_advance_a_person_ramps() -> None:
    timeline = started(ramp(stages="stages: [0.1, 0.3], minDuration: 1s, minUnits: 0"))
    assert busy(timeline, 20) == []


def test_without_windows_nobody_has_allowed_it_beforehand() -> None:
    timeline = started(ramp(extra=""))
    assert busy(timeline, 20) == []
    assert "no windows say when exposure may be raised" in said(timeline, "stage_waits")[0]


def test_outside_of_its_windows_it_waits_and_inside_it_goes_on_once() -> None:
    """X4: the window opens an hour later; a stage that was passed twice over is passed once."""
    timeline = started(
        ramp(extra='windows: [{days: Mon, from: "14:00", to: "14:14"}, {days: Mon, from: "15:00", to: "16:00"}]')
    )
    timeline.at += 60_000_000
    assert busy(timeline, 30) == []
    timeline.at += 3_000_000_000
    assert [one.exposure for one in busy(timeline, 8)] == [0.3]


def test_after_an_outage_one_stage_is_passed_at_most() -> None:
    """Nobody watched while nobody ticked: the time of an outage does not count."""
    timeline = started(ramp())
    busy(timeline, 9)
    timeline.at += 86_400_000_000
    assert [one.exposure for one in busy(timeline, 3)] == [0.3]
    timeline.at += 86_400_000_000
    assert busy(timeline, 3) == [], "five seconds of the outage and three of watching"


def test_a_command_that_nobody_applies_begins_no_stage() -> None:
    text = ramp().replace("control: current", "control: current, controllers: [flags]")
    timeline = started(text)
    assert [one.exposure for one in busy(timeline, 40)] == [0.3]
    timeline.ack("flags")
    assert [one.exposure for one in busy(timeline, 12)] == [0.6]


# ---- what is in the way ------------------------------------------------------------------------------


def test_a_held_run_is_not_raised() -> None:
    timeline = started(ramp())
    some = traces(20, seed=2)
    timeline.traces(with_gate(some, int((some.variant == 0).argmax()), 0))
    assert timeline.it.lifecycle == Lifecycle.HOLDING
    assert busy(timeline, 30) == []


def test_a_finding_stands_in_the_way_though_it_orders_nothing() -> None:
    timeline = started(ramp(extra=f"{ALWAYS}\ndrift: [{{metric: output_tokens, action: none}}]"))
    timeline.it.current.verdicts["drift[0]/arms"] = "breach/variant_moved"
    assert busy(timeline, 40) == []
    assert said(timeline, "stage_waits") == ["the stage of 0.1 waits: drift[0]/arms says breach, variant_moved"]


def test_a_guardrail_without_a_verdict_extends_the_stage() -> None:
    """Never skipping a gate: too little data is no leave to go on."""
    guardrail = "guardrails: [{metric: latency_ms, direction: lower, margin: {absolute: 100}}]"
    timeline = started(ramp(extra=f"{ALWAYS}\n{guardrail}", stages=STAGES.replace("minUnits: 50", "minUnits: 0")))
    assert busy(timeline, 15, n=4) == []
    assert said(timeline, "stage_extended") == [
        "the stage of 0.1 is extended: guardrail[0] has no verdict yet (below_floor); it goes on for up to 20 s more"
    ]


def test_a_ramp_may_want_every_guardrail_to_be_safe() -> None:
    """Judged is not safe: one that may yet be found harmful waits where the spec says so."""
    guardrail = "guardrails: [{metric: latency_ms, direction: lower, margin: {absolute: 1}}]"
    judged, safe = (started(ramp(more, f"{ALWAYS}\n{guardrail}")) for more in ("", ", until: safe"))
    assert [one.exposure for one in busy(judged, 30, n=400)] != []
    assert busy(safe, 30, n=400) == []
    assert "has not shown that the treatment is within its margin" in said(safe, "stage_extended")[1]


def test_what_is_not_judged_yet_is_waited_for() -> None:
    timeline = started(ramp())
    busy(timeline, 9)
    timeline.seconds(5, lag=2_000)
    assert actions(timeline) == ["set_exposure"]
    assert "not all traces that were sent are judged yet" in said(timeline, "stage_waits")[0]
    assert [one.exposure for one in busy(timeline, 3)] == [0.3]


def test_an_approval_for_less_stands_in_the_way() -> None:
    timeline = started(ramp())
    timeline.ask("approve", by="pia", reason="a little", body='{"domain": "product", "largestExposure": 0.2}')
    assert busy(timeline, 20) == []
    assert "0.3 of the traffic is more than is approved: at most 0.2" in said(timeline, "stage_waits")[0]


# ---- extend, then hold or revert ---------------------------------------------------------------------


def test_a_stage_that_lacks_units_is_extended_first() -> None:
    timeline = started(ramp())
    assert busy(timeline, 15, n=20) == []
    [words] = said(timeline, "stage_extended")
    assert "of 50 units have met the treatment; it goes on for up to 20 s more" in words
    assert [one.exposure for one in busy(timeline, 3, n=1_000)] == [0.3], "what it lacked has come in time"


def test_beyond_the_limit_it_is_held_and_only_a_person_goes_on() -> None:
    timeline = started(ramp())
    assert busy(timeline, 40, n=5) == []
    [words] = said(timeline, "stage_held")
    assert words.startswith("the stage of 0.1 is held: ")
    assert words.endswith("units have met the treatment after 30 s; a person decides with `stoploss ramp`")
    assert busy(timeline, 20, n=1_000) == []
    timeline.ask("ramp")
    assert timeline.it.desired.exposure == 0.3
    assert [one.exposure for one in busy(timeline, 15, n=1_000)] == [0.6], "from there it goes on by itself again"


def test_or_it_is_reverted_to_the_stage_before_and_stays_there() -> None:
    timeline = started(ramp(", then: revert"))
    busy(timeline, 11)
    assert timeline.it.desired.exposure == 0.3
    [revert] = busy(timeline, 40, n=1)
    assert (revert.action, revert.exposure, revert.expires_at) == ("throttle", 0.1, None)
    assert "the stage of 0.3 is reverted to 0.1: " in revert.reason
    assert busy(timeline, 60, n=1_000) == []


def test_the_first_stage_has_none_before_it_and_is_held() -> None:
    timeline = started(ramp(", then: revert"))
    assert busy(timeline, 40, n=1) == []
    assert len(said(timeline, "stage_held")) == 1


def test_what_a_person_has_lowered_is_not_raised_by_the_ramp() -> None:
    timeline = started(ramp())
    busy(timeline, 11)
    timeline.ask("ramp", exposure=0.1)
    assert busy(timeline, 40, n=1_000) == []
    assert said(timeline, "stage_held") == [
        "the ramp is held: ada has lowered it; a person decides with `stoploss ramp`"
    ]


def test_what_a_budget_has_throttled_is_not_raised_by_the_ramp() -> None:
    budget = "budgets: [{metric: cost_usd, limit: 0.5, period: 1d, actions: [{burn: 0.1, do: throttle, to: 0.05}]}]"
    timeline = started(ramp(extra=f"{ALWAYS}\n{budget}"))
    assert [one.action for one in busy(timeline, 60)] == ["throttle"]


# ---- with windows that close -------------------------------------------------------------------------


def test_while_the_windows_are_closed_no_stage_goes_on_and_its_time_is_kept() -> None:
    """X4"""
    closing = 'windows: [{days: Mon-Sun, from: "14:00", to: "14:14"}, {days: Mon-Sun, from: "15:00", to: "16:00"}]'
    timeline = started(ramp(extra=f"{closing}\nsafeShare: 0.05"))
    busy(timeline, 6)
    timeline.at += 60_000_000
    assert [one.exposure for one in busy(timeline, 20)] == [0.05]
    timeline.at += 3_000_000_000
    assert [one.exposure for one in busy(timeline, 6)] == [0.1, 0.3], "it returns, and the rest of its time passes"


# ---- watching on -------------------------------------------------------------------------------------


def test_full_exposure_is_watched_for_as_long_as_was_promised_and_then_that_is_said() -> None:
    """R1: blue/green, one stage to all of the traffic."""
    text = spec("", SPEC.replace("{stages: [0.5]}", "{stages: [1], watch: 20s}"))
    timeline = started(text)
    busy(timeline, 10)
    assert said(timeline, "watched") == ["'small' has all of the traffic and is watched for 20 s"]
    assert said(timeline, "watch_over") == []
    busy(timeline, 20)
    assert said(timeline, "watch_over") == [
        "'small' has all of the traffic and was watched for 20 s, as promised: nothing speaks against it. "
        "The watch is over; a person completes it"
    ]
    some = traces(20, seed=9, share=1.0)
    timeline.traces(with_gate(some, 3, 0))
    assert timeline.it.lifecycle == Lifecycle.STOPPED, "and it is watched on"


# ---- promises of every state -------------------------------------------------------------------------


def test_where_the_ramp_stands_is_in_the_registry() -> None:
    timeline = started(ramp())
    busy(timeline, 15, n=5)
    assert (timeline.registry()[-1].ramp or "").startswith("the stage of 0.1 is extended: ")
    busy(timeline, 10, n=1_000)
    assert timeline.registry()[-1].ramp is None


@pytest.mark.parametrize("block_rows", [1, 7, 100])
def test_units_are_counted_however_the_rows_are_cut(block_rows: int) -> None:
    timeline, whole = started(ramp()), started(ramp())
    some = traces(300, seed=1, users=2_000, share=0.1)
    timeline.traces(some, block_rows=block_rows)
    whole.traces(some)
    assert timeline.it.current.pace.units == whole.it.current.pace.units > 20


def test_a_replay_and_a_restored_judge_go_on_where_it_went_on() -> None:
    timeline = started(ramp())
    busy(timeline, 6)
    cut = len(timeline.entries), len(timeline.outputs)
    restored = snapshot.load(PartitionState, stored(timeline.state), SECRET)
    busy(timeline, 30)
    assert bytes_of(refolded(timeline.entries)) == bytes_of(timeline.outputs)
    assert bytes_of(refolded(timeline.entries[cut[0] :], restored)) == bytes_of(timeline.outputs[cut[1] :])
    assert len(timeline.commands) == 3


def test_the_spec_of_the_document_can_be_read() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    ramp_of_it = parse_experiment(SPEC.replace("  ramp: {stages: [0.5]}\n", text)).spec.ramp
    assert ramp_of_it.at(0.05) == (14_400, 2_000, 43_200)
    assert ramp_of_it.at(0.25) == (86_400, 20_000, 43_200)


@pytest.mark.parametrize("field", ["until: safe", "extend: 1h", "then: revert"])
def test_what_belongs_to_a_ramp_by_itself_is_refused_without_it(field: str) -> None:
    with pytest.raises(InvalidExperiment, match="belongs to 'autoAdvance: true'; add that, or drop it"):
        parse_experiment(ramp(stages=f"stages: [0.1, 0.3], {field}"))

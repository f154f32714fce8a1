from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stoploss.commands import Action, derived_id
from stoploss.journal import CommandAcked, CommandIssued, EpochOpened, Finding, LifecycleChanged
from stoploss.ledger import AckOverdue, AckReceived, JudgeVersion
from stoploss.lifecycle import Lifecycle
from stoploss.outputs import RAISE_EXPIRES_AFTER, CommandOutput, JournalOutput
from tests.timelines import EVERY_RULE, SPEC, Timeline, actions, merged, of_arm, spec, traces, with_gate

CONTROLLED = SPEC.replace("control: current}", "control: current, controllers: [flagd, gateway]}")
ERRORS = "guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.10}, action: ACTION}]"


def treated(n: int = 50, seed: int = 1) -> tuple[int, object]:
    some = traces(n, seed=seed)
    return int((some.variant == 1).argmax()), some


def harmed(timeline: Timeline, seed: int = 7) -> Timeline:
    timeline.seconds(1)
    timeline.traces(traces(2_000, seed=seed, users=2_000, error_rate=(0.02, 0.5)))
    timeline.seconds(1)
    return timeline


def tripped(timeline: Timeline, arm: int = 1, bit: int = 0) -> Timeline:
    some = traces(50, seed=11)
    timeline.traces(with_gate(some, int((some.variant == arm).argmax()), bit))
    return timeline


def test_a_raise_expires_and_what_lowers_exposure_never_does() -> None:
    timeline = harmed(Timeline(spec(ERRORS.replace("ACTION", "pause"))).started())
    timeline.ask("stop")
    timeline.ask("resume")
    timeline.ask("rollback")
    expiries = [(str(c.action), c.expires_at and c.expires_at - c.decided_at) for c in timeline.commands]
    assert expiries == [
        ("set_exposure", RAISE_EXPIRES_AFTER),
        ("pause", None),
        ("stop", None),
        ("set_exposure", RAISE_EXPIRES_AFTER),
        ("rollback", None),
    ]


def test_the_sequence_rises_by_one_within_a_run_and_begins_anew_with_each() -> None:
    timeline = Timeline().started()
    for action in ("pause", "stop", "resume", "rollback", "resume"):
        timeline.ask(action)
    assert [(c.run, c.sequence) for c in timeline.commands] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1)]


def test_a_command_id_is_made_from_where_the_command_came_from_and_from_nothing_else() -> None:
    timeline = tripped(Timeline().started())
    stop = timeline.commands[-1]
    output = next(o for o in timeline.outputs if isinstance(o, CommandOutput) and o.command is stop)
    offset = timeline.entries[-1].offset
    assert stop.command_id == derived_id("checkout", 1, "gate/pii_exposed", 1, 0, offset, output.ordinal)


def test_all_ids_of_a_timeline_are_distinct() -> None:
    timeline = harmed(Timeline(spec(EVERY_RULE)).started())
    timeline.ask("resume")
    harmed(timeline, seed=8)
    commands = [c.command_id for c in timeline.commands]
    entries = [o.entry.entry_id for o in timeline.outputs if isinstance(o, JournalOutput)]
    assert len(commands) >= 4
    assert len({*commands, *entries}) == len(commands) + len(entries)


def test_a_command_carries_the_complete_desired_state() -> None:
    timeline = tripped(Timeline(CONTROLLED).started(exposure=0.25))
    first, stop = timeline.commands
    shared = {"experiment": "checkout", "flag": "checkout", "control_variant": "current", "treatment_variant": "small"}
    for command in (first, stop):
        assert {name: getattr(command, name) for name in shared} == shared
        assert command.controllers == ("flagd", "gateway")
        assert command.topic == "stoploss.control"
        assert command.decided_at == timeline.at
        assert not command.dry_run
    assert (first.release_variant, first.exposure) == ("current", 0.25)
    assert (stop.action, stop.release_variant, stop.exposure) == (Action.STOP, "current", 0.0)


@pytest.mark.parametrize(("impact", "needed"), [("material", True), ("none", False)])
def test_each_command_says_whether_the_treatment_needs_consent(impact: str, needed: bool) -> None:
    """G3"""
    timeline = Timeline(spec(f"userImpact: {impact}")).started(exposure=0.25)
    timeline.ask("stop")
    assert [command.needs_consent for command in timeline.commands] == [needed, needed]
    assert [command.asks_for_consent for command in timeline.commands] == [needed, False]


def test_a_later_command_repeats_the_segments_that_were_stopped_before() -> None:
    text = spec("segments: [tenant]\n" + ERRORS.replace("ACTION", "rollback"))
    timeline = Timeline(text).started()
    for second in range(10):
        timeline.seconds(1)
        timeline.traces(
            merged(
                traces(3_000, seed=40 + second, users=20_000, tenant="zeta"),
                traces(40, seed=90 + second, users=2_000, population=1, error_rate=(0.02, 0.6), tenant="acme"),
            )
        )
    stopped = timeline.commands[1]
    assert (stopped.action, [str(s) for s in stopped.stopped_segments]) == (Action.STOP_SEGMENT, ["tenant=acme"])
    assert stopped.exposure == 0.5
    timeline.ask("pause")
    assert [str(s) for s in timeline.commands[-1].stopped_segments] == ["tenant=acme"]
    timeline.ask("resume")
    assert timeline.commands[-1].stopped_segments == ()


def test_the_registry_always_shows_the_desired_state_of_the_last_command() -> None:
    timeline = tripped(Timeline().started())
    last, command = timeline.registry()[-1], timeline.commands[-1]
    assert (last.command_id, last.exposure, last.run, last.sequence) == (command.command_id, 0.0, 1, 2)
    assert last.lifecycle == Lifecycle.STOPPED


def test_a_gate_and_a_guardrail_in_one_entry_the_gate_acts_and_ends_the_run() -> None:
    timeline = Timeline(spec(ERRORS.replace("ACTION", "rollback"))).started()
    some = traces(4_000, seed=7, users=4_000, error_rate=(0.02, 0.5))
    clean = Timeline(spec(ERRORS.replace("ACTION", "rollback"))).started()
    clean.seconds(1)
    clean.traces(some, block_rows=4_000)
    assert actions(clean) == ["set_exposure", "rollback"]
    timeline.seconds(1)
    timeline.traces(with_gate(some, int((some.variant == 1).argmax()), 0), block_rows=4_000)
    assert actions(timeline) == ["set_exposure", "stop"]
    assert [(f.evidence.rule, f.verdict) for f in timeline.findings] == [("gate", "breach")]


def test_a_finding_is_said_once_however_long_the_harm_goes_on() -> None:
    timeline = Timeline(spec(ERRORS.replace("ACTION", "pause"))).started()
    for seed in range(6):
        harmed(timeline, seed=seed)
    assert [f.verdict for f in timeline.findings if f.evidence.rule == "guardrail"] == ["breach"]


def test_a_breach_stays_although_the_harm_is_diluted() -> None:
    timeline = harmed(Timeline(spec(ERRORS.replace("ACTION", "pause"))).started())
    for seed in range(5):
        timeline.traces(traces(4_000, seed=seed, users=9_000, error_rate=(0.5, 0.0)))
        timeline.seconds(1)
    assert [f.verdict for f in timeline.findings] == ["breach"]
    assert timeline.it.lifecycle == Lifecycle.PAUSED


def test_safe_is_not_sticky() -> None:
    timeline = Timeline(spec(ERRORS.replace("ACTION", "pause").replace("0.10", "0.5"))).started()
    for seed in range(30):
        timeline.traces(traces(1_000, seed=seed, users=30_000, error_rate=(0.1, 0.1)))
        timeline.seconds(1)
    assert [f.verdict for f in timeline.findings] == ["safe"]
    for seed in range(30, 60):
        timeline.traces(traces(1_000, seed=seed, users=30_000, error_rate=(0.05, 0.4)))
        timeline.seconds(1)
        if timeline.it.lifecycle == Lifecycle.PAUSED:
            break
    verdicts = [f.verdict for f in timeline.findings]
    assert verdicts[0] == "safe"
    assert verdicts[-1] == "breach"


def test_a_paused_run_is_still_judged_and_a_gate_stops_it() -> None:
    timeline = Timeline().started()
    timeline.ask("pause")
    tripped(timeline)
    assert actions(timeline) == ["set_exposure", "pause", "stop"]
    assert timeline.it.lifecycle == Lifecycle.STOPPED


@pytest.mark.parametrize(
    ("written", "ordered"),
    [(("pause", "stop"), ["pause", "stop"]), (("stop", "pause"), ["stop"]), (("rollback", "pause"), ["rollback"])],
)
def test_in_one_entry_a_stronger_answer_follows_a_weaker_one_and_never_the_reverse(
    written: tuple[str, str], ordered: list[str]
) -> None:
    rule = "  - {metric: error_rate, direction: lower, margin: {relative: MARGIN}, action: ACTION}\n"
    rules = [rule.replace("MARGIN", m).replace("ACTION", a) for m, a in zip(("0.10", "0.11"), written, strict=True)]
    text = spec("guardrails:\n" + "".join(rules))
    timeline = Timeline(text).started()
    timeline.seconds(1)
    timeline.traces(traces(4_000, seed=7, users=4_000, error_rate=(0.02, 0.5)), block_rows=4_000)
    timeline.seconds(1)
    assert actions(timeline)[1:] == ordered


@pytest.mark.parametrize("action", ["pause", "stop", "rollback"])
def test_the_action_of_the_spec_is_the_action_of_the_command(action: str) -> None:
    timeline = harmed(Timeline(spec(ERRORS.replace("ACTION", action))).started())
    assert actions(timeline) == ["set_exposure", action]
    command = timeline.commands[-1]
    assert command.exposure == 0.0
    assert command.evidence is not None
    finding = next(
        o.entry for o in timeline.outputs if isinstance(o, JournalOutput) and isinstance(o.entry.conclusion, Finding)
    )
    assert command.evidence == replace(finding.conclusion.evidence, journal_ids=(finding.entry_id,))  # type: ignore[union-attr]


def test_an_epoch_opens_with_the_last_required_applied_ack() -> None:
    timeline = Timeline(CONTROLLED)
    timeline.ask("register")
    timeline.ask("start")
    timeline.ack("flagd", "received")
    timeline.ack("flagd")
    assert not timeline.it.epoch_open
    timeline.ack("gateway", "rejected")
    assert not timeline.it.epoch_open
    timeline.ack("gateway")
    assert timeline.said(EpochOpened) == [EpochOpened(1, 0.5)]
    assert timeline.registry()[-1].epoch == 1


def test_without_required_controllers_the_epoch_opens_at_once() -> None:
    assert Timeline().started().said(EpochOpened) == [EpochOpened(1, 0.5)]


def test_a_stop_closes_the_epoch_and_its_acks_open_none() -> None:
    timeline = tripped(Timeline(CONTROLLED).started())
    for controller in ("flagd", "gateway"):
        timeline.ack(controller)
    assert not timeline.it.epoch_open
    assert len(timeline.said(EpochOpened)) == 1


def test_an_ack_is_journaled_once_and_one_for_an_older_command_is_not() -> None:
    timeline = Timeline(CONTROLLED).started()
    before = len(timeline.said(CommandAcked))
    timeline.ack("flagd")
    assert len(timeline.said(CommandAcked)) == before == 2
    old = timeline.commands[0]
    timeline.ask("pause")
    timeline.append(
        AckReceived("checkout", old.command_id, "flagd", "two", "applied", "", timeline.at, 1, old.sequence, "s")
    )
    assert len(timeline.said(CommandAcked)) == 2
    assert sorted(timeline.it.desired.awaiting.missing) == ["flagd", "gateway"]


def test_an_overdue_ack_is_said_while_it_is_awaited_and_not_after() -> None:
    timeline = Timeline(CONTROLLED)
    timeline.ask("register")
    timeline.ask("start")
    overdue = AckOverdue("checkout", timeline.commands[0].command_id, "gateway", 1_500, 2, 1, 1)
    timeline.append(overdue)
    said = timeline.said(CommandAcked)
    assert [(a.controller, a.status, a.reason) for a in said] == [
        ("gateway", "overdue", "not applied after 1500 ms, sent again 2 times")
    ]
    timeline.ack("gateway")
    timeline.append(overdue)
    assert len(timeline.said(CommandAcked)) == 2


def test_the_lifecycle_changes_in_the_journal_right_after_the_command_that_changed_it() -> None:
    timeline = tripped(Timeline().started())
    kinds = [type(c) for c in timeline.conclusions]
    assert kinds[-3:] == [Finding, CommandIssued, LifecycleChanged]
    changed = timeline.said(LifecycleChanged)[-1]
    assert (changed.before, changed.after) == ("running", "stopped")


def test_a_judge_version_is_remembered_and_says_nothing() -> None:
    timeline = Timeline().started()
    assert timeline.append(JudgeVersion(0, "1", "3.11", "2.3", "0.26.1", "2025b", "Gate@1")) == []
    assert "river 0.26.1" in timeline.state.version


def test_one_arm_alone_is_never_compared() -> None:
    timeline = Timeline(spec(ERRORS.replace("ACTION", "pause"))).started()
    some = of_arm(traces(6_000, seed=3, users=3_000, error_rate=(0.0, 0.9)), 1)
    assert np.all(some.variant == 1)
    timeline.traces(some)
    timeline.seconds(3)
    assert timeline.findings == []

"""A judge takes over from one of another version: what that one published stands, whatever this one makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from stoploss import decisions, journal
from stoploss.errors import ReplayDiverged, SnapshotUnreadable
from stoploss.journal import RequestHandled
from stoploss.ledger import AckReceived, Fact, JudgeVersion, Request
from stoploss.rules import gate
from stoploss.settings import Settings
from stoploss.state import Cursor
from stoploss.succession import can_judge
from streams import partition_judge, snapshot_store
from streams.partition_judge import Keys, PartitionJudge, this_version
from tests.installation import (
    append_facts,
    facts_of,
    journal_of,
    registry_of,
    values,
)
from tests.streams.test_partition_judge import commands_of, ledger_of, story
from tests.timelines import Timeline, chain_holds, traces, with_gate

pytestmark = pytest.mark.kafka

NAME = "checkout"


@contextmanager
def another_version(acts: bool = True) -> Iterator[None]:
    """Its gate has a higher version, in findings and in the ids of its commands; acts: whether it stops anything."""
    evidence, command, act = gate._evidence, decisions.command, decisions.act

    def told(rule: str, version: int, *rest: Any) -> Any:
        return evidence(rule, version + 1, *rest)

    def ordered(state: Any, action: Any, rule: str, version: int, *rest: Any, **more: Any) -> None:
        command(state, action, rule, version + 1 if rule.startswith("gate") else version, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "_evidence", told)
        patch.setattr(decisions, "command", ordered)
        patch.setattr(decisions, "act", act if acts else lambda *_: None)
        patch.setattr(
            partition_judge, "this_version", lambda partition: replace(this_version(partition), rules="other")
        )
        gate._no_event.cache_clear()
        yield
    gate._no_event.cache_clear()


def judged_by_another(settings: Settings, keys: Keys, *, acts: bool = True) -> None:
    """It has judged the whole story, which stood there before it came, and has gone without a snapshot."""
    append_facts(settings, 0, story())
    with another_version(acts):
        taken_over(settings, keys).judge(ledger_of(settings))
    end_of_transactions(settings, keys)


def end_of_transactions(settings: Settings, keys: Keys) -> None:
    """A commit is answered before everybody is shown what it has committed; whoever fences waits for that."""
    PartitionJudge(settings, 0, keys).restore()


def taken_over(settings: Settings, keys: Keys) -> PartitionJudge:
    judge = PartitionJudge(settings, 0, keys)
    judge.restore()
    judge.announce()
    return judge


def goes_on(settings: Settings, keys: Keys, facts: list[Fact]) -> PartitionJudge:
    judge = taken_over(settings, keys)
    judge.judge(ledger_of(settings))
    append_facts(settings, 0, facts)
    judge.judge(ledger_of(settings))
    end_of_transactions(settings, keys)
    return judge


def test_in_other_words_the_journal_is_gone_on_with_and_nothing_is_ordered_again(
    settings: Settings, keys: Keys
) -> None:
    judged_by_another(settings, keys)
    published, ordered = values(settings, "journal", 0), commands_of(settings)
    goes_on(settings, keys, [asked("resume")])
    assert values(settings, "journal", 0)[: len(published)] == published
    assert chain_holds(values(settings, "journal", 0))
    assert [(str(c.action), c.run, c.sequence) for c in commands_of(settings)] == [
        *((str(c.action), c.run, c.sequence) for c in ordered),
        ("set_exposure", 2, 1),
    ]


def asked(action: str) -> Request:
    return Request(f"then {action}", NAME, action, "ada", "", 0, exposure=0.5, partition=0, accepted=True, opinion="")


def test_a_command_of_the_other_version_that_was_acked_counts_as_applied(settings: Settings, keys: Keys) -> None:
    """Its id is not the one that this version's fold came to."""
    judged_by_another(settings, keys)
    stop = commands_of(settings)[-1]
    acks = [
        AckReceived(NAME, stop.command_id, name, "one", "applied", "", 0, stop.run, stop.sequence, "s")
        for name in stop.controllers
    ]
    with another_version():
        judge = taken_over(settings, keys)
        append_facts(settings, 0, acks)
        judge.judge(ledger_of(settings))
    wants = goes_on(settings, keys, [])._state.experiments[NAME].desired
    assert (wants.command_id, bool(wants.awaiting)) == (stop.command_id, False)
    assert wants.applied_at is not None


def test_what_the_other_version_let_run_is_paused_where_this_one_would_have_stopped_it(
    settings: Settings, keys: Keys
) -> None:
    """Its evidence is gone with the fold: a person resumes it, and it is judged from the first trace on."""
    judged_by_another(settings, keys, acts=False)
    assert [str(command.action) for command in commands_of(settings)] == ["set_exposure"]
    goes_on(settings, keys, [])
    entry = registry_of(settings, NAME)
    assert entry is not None
    assert (entry.lifecycle, entry.exposure, entry.run) == ("paused", 0.0, 1)
    assert [(str(c.action), c.sequence) for c in commands_of(settings)] == [("set_exposure", 1), ("pause", 2)]
    assert "does not come to what another one did" in commands_of(settings)[-1].reason
    assert chain_holds(values(settings, "journal", 0))


def test_the_pause_is_asked_for_once_however_often_the_judge_begins_again(settings: Settings, keys: Keys) -> None:
    judged_by_another(settings, keys, acts=False)
    for _ in range(2):
        taken_over(settings, keys).judge(ledger_of(settings)[: len(story()) + 1])
    goes_on(settings, keys, [])
    handled = [e.conclusion for e in journal_of(settings, NAME) if isinstance(e.conclusion, RequestHandled)]
    assert [one.action for one in handled] == ["register", "start", "pause"]


def test_what_the_other_version_stopped_stays_stopped_though_this_one_would_have_let_it_run(
    settings: Settings, keys: Keys
) -> None:
    append_facts(settings, 0, story())
    judge = taken_over(settings, keys)
    judge.judge(ledger_of(settings))
    with another_version(acts=False):
        later = goes_on(settings, keys, [*more_traces(), asked("pause")])
        assert later._state.experiments[NAME].lifecycle == "stopped"
    assert [str(command.action) for command in commands_of(settings)] == ["set_exposure", "stop"]


def more_traces() -> list[Fact]:
    timeline = Timeline().started()
    timeline.seconds(2)
    timeline.traces(with_gate(traces(50, seed=3, share=1.0), 3, bit=0))
    return [entry.fact for entry in timeline.entries[3:]]


def test_an_experiment_that_this_version_cannot_judge_is_left_out_and_its_journal_left_alone(
    settings: Settings, keys: Keys
) -> None:
    judged_by_another(settings, keys, acts=False)
    published = values(settings, "journal", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition_judge, "can_judge", lambda entry: False)
        judge = goes_on(settings, keys, [*more_traces(), asked("pause")])
        assert NAME not in judge._state.experiments
        assert values(settings, "journal", 0) == published
    assert goes_on(settings, keys, [])._state.experiments[NAME].lifecycle == "paused"


def test_of_a_newer_spec_or_a_state_that_it_does_not_know_it_says_that_it_cannot_judge_it() -> None:
    entry = Timeline().started().registry()[-1]
    assert can_judge(entry)
    assert not can_judge(replace(entry, spec="apiVersion: stoploss/v2"))
    assert not can_judge(replace(entry, lifecycle="hibernating"))


def test_a_difference_in_its_own_span_still_ends_the_judge(settings: Settings, keys: Keys) -> None:
    """The rules are the same by name, so the code is not what it says."""
    append_facts(settings, 0, story())
    with another_version(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition_judge, "this_version", this_version)
        taken_over(settings, keys).judge(ledger_of(settings))
    with pytest.raises(ReplayDiverged):
        goes_on(settings, keys, [])


def test_each_take_over_is_a_span_in_the_ledger(settings: Settings, keys: Keys) -> None:
    """The snapshot of the one that comes back may be older than what stood between."""
    for version in (1, 2, 1):
        if version == 1:
            taken_over(settings, keys)
        else:
            with another_version():
                taken_over(settings, keys)
    rules = [fact.rules for fact in facts_of(settings, 0) if isinstance(fact, JudgeVersion)]
    assert [one == "other" for one in rules] == [False, True, False]


# ---- snapshots of other versions -----------------------------------------------------------------


def test_a_snapshot_with_other_rules_does_not_fit() -> None:
    state = Timeline().started().state
    del state.experiments[NAME].current.rules["gate"]
    with pytest.raises(SnapshotUnreadable, match="made by a version with other rules for 'checkout': gate"):
        snapshot_store._must_fit(state, {})


def test_a_snapshot_that_leaves_out_an_experiment_of_which_something_is_published_does_not_fit() -> None:
    state = Timeline().started().state
    cursor = Cursor("another", 0, 1, 0, 1, 1, 1, journal.GENESIS)
    with pytest.raises(SnapshotUnreadable, match="a version that could not judge another"):
        snapshot_store._must_fit(state, {"another": cursor})
    snapshot_store._must_fit(state, {"another": replace(cursor, offset=state.offset + 1)})


def test_a_snapshot_whose_spec_this_version_cannot_read_does_not_fit() -> None:
    state = Timeline().started().state
    state.experiments[NAME].spec = "apiVersion: stoploss/v2"
    with pytest.raises(SnapshotUnreadable, match="this version cannot read a spec in it"):
        snapshot_store._must_fit(state, {})


def test_a_cursor_may_carry_more_than_this_version_knows() -> None:
    cursor = Cursor(NAME, 0, 1, 0, 1, 1, 1, journal.GENESIS)
    _, value = snapshot_store.cursor_record(cursor)
    assert snapshot_store._cursor(value.replace(b"{", b'{"added": 1, ', 1)) == cursor

"""The ledger was deleted further than it was judged: what was published stands, what runs is paused and says why."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from stoploss import followup
from stoploss.errors import LedgerIncomplete
from stoploss.journal import RequestHandled
from stoploss.ledger import Fact, Request
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from streams import partition_judge
from streams.partition_judge import Keys, PartitionJudge
from tests.installation import append_facts, appending, facts_of, journal_of, registry_of, values
from tests.streams.test_partition_judge import commands_of, judge_of, ledger_of, story
from tests.timelines import Timeline, chain_holds, traces, with_gate

pytestmark = pytest.mark.kafka

NAME = "checkout"
LEAK = next(at for at, fact in enumerate(story()) if at > 5 and type(fact).__name__ == "EvidenceBlock")


def cut_off(settings: Settings, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": settings.need_kafka()})
    deleted = admin.delete_records([TopicPartition(settings.topics("ledger"), 0, before)])
    [future] = deleted.values()
    future.result()


def judged_then_cut(settings: Settings, keys: Keys, judged: int, cut: int, *, snapshot: bool = False) -> None:
    """Of the story the first entries are judged, and those before `cut` deleted."""
    append_facts(settings, 0, story())
    judge = judge_of(settings, keys)
    judge.judge(ledger_of(settings)[:judged])
    if snapshot:
        judge._snapshot()
    judge_of(settings, keys)  # waits until what was published is shown
    cut_off(settings, cut)


def goes_on(settings: Settings, keys: Keys, *facts: Fact) -> PartitionJudge:
    judge = judge_of(settings, keys)
    append_facts(settings, 0, facts)
    judge.judge(ledger_of(settings))
    judge_of(settings, keys)
    return judge


def entry_of(settings: Settings) -> RegistryEntry:
    entry = registry_of(settings, NAME)
    assert entry is not None
    return entry


def resume() -> Request:
    return Request("then on", NAME, "resume", "ada", "", 0, exposure=0.5, partition=0, accepted=True, opinion="")


def leak() -> Fact:
    timeline = Timeline().started()
    timeline.traces(with_gate(traces(50, seed=3, share=1.0), 3, bit=0))
    return timeline.entries[-1].fact


@pytest.mark.parametrize(("judged", "snapshot"), [(4, False), (6, True)])
def test_what_runs_is_paused_and_the_journal_goes_on_behind_its_last_entry(
    settings: Settings, keys: Keys, judged: int, snapshot: bool
) -> None:
    judged_then_cut(settings, keys, judged, LEAK + 1, snapshot=snapshot)
    published, before = values(settings, "journal", 0), entry_of(settings)
    goes_on(settings, keys)
    after, now = values(settings, "journal", 0), entry_of(settings)
    assert (before.lifecycle, now.lifecycle) == ("running", "paused")
    assert (now.exposure, now.run, now.sequence) == (0.0, before.run, before.sequence + 1)
    assert after[: len(published)] == published
    assert chain_holds(after)
    assert [str(command.action) for command in commands_of(settings)] == ["set_exposure", "pause"]
    assert "the ledger was deleted further than it had been judged" in commands_of(settings)[-1].reason


def test_resumed_it_is_judged_anew(settings: Settings, keys: Keys) -> None:
    judged_then_cut(settings, keys, 4, LEAK + 1)
    goes_on(settings, keys)
    goes_on(settings, keys, resume())
    assert entry_of(settings).lifecycle == "running"
    goes_on(settings, keys, leak())
    assert entry_of(settings).lifecycle == "stopped"
    assert (commands_of(settings)[-1].action, commands_of(settings)[-1].run) == ("stop", 2)
    assert chain_holds(values(settings, "journal", 0))


def test_what_was_stopped_stays_stopped_and_nothing_is_said_of_it(settings: Settings, keys: Keys) -> None:
    everything = len(story())
    judged_then_cut(settings, keys, everything, everything)
    published = values(settings, "journal", 0)
    assert goes_on(settings, keys)._state.experiments[NAME].lifecycle == "stopped"
    assert values(settings, "journal", 0) == published
    assert not [fact for fact in facts_of(settings, 0) if isinstance(fact, Request)]


def test_the_pause_is_asked_for_once_however_often_the_judge_begins_again(settings: Settings, keys: Keys) -> None:
    judged_then_cut(settings, keys, 4, LEAK + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartitionJudge, "_snapshot", lambda judge: None)  # it dies before that
        for _ in range(2):
            judge_of(settings, keys)
    goes_on(settings, keys)
    handled = [e.conclusion for e in journal_of(settings, NAME) if isinstance(e.conclusion, RequestHandled)]
    assert [one.action for one in handled] == ["register", "start", "pause"]


def test_a_gap_that_was_told_is_told_no_more(settings: Settings, keys: Keys) -> None:
    """Else it would be paused again whenever its judge is started."""
    judged_then_cut(settings, keys, 4, LEAK + 1)
    goes_on(settings, keys)
    goes_on(settings, keys, resume())
    for _ in range(2):
        goes_on(settings, keys)
    assert [str(command.action) for command in commands_of(settings)] == ["set_exposure", "pause", "set_exposure"]
    assert entry_of(settings).run == 2


def test_what_people_have_put_on_record_is_kept(settings: Settings, keys: Keys) -> None:
    judged_then_cut(settings, keys, 4, LEAK + 1)
    state = goes_on(settings, keys)._state.experiments[NAME]
    assert state.governance.authors == list(entry_of(settings).authors) != []
    assert state.spec_hash == entry_of(settings).spec_hash


def test_of_what_a_snapshot_knew_more_is_kept(settings: Settings, keys: Keys) -> None:
    append_facts(settings, 0, story())
    judge = judge_of(settings, keys)
    judge.judge(ledger_of(settings)[:4])
    judge._state.experiments[NAME].case_sets.append(followup.CaseSet("refunds"))
    judge._snapshot()
    cut_off(settings, LEAK + 1)
    state = goes_on(settings, keys)._state.experiments[NAME]
    assert [one.name for one in state.case_sets] == ["refunds"]


def test_one_that_cannot_be_gone_on_with_is_left_out_and_its_journal_left_alone(settings: Settings, keys: Keys) -> None:
    judged_then_cut(settings, keys, 4, LEAK + 1)
    published = values(settings, "journal", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition_judge, "can_judge", lambda entry: False)
        assert goes_on(settings, keys, resume())._state.experiments == {}
    assert values(settings, "journal", 0) == published


def test_one_whose_entry_in_the_registry_this_version_cannot_read_is_left_out(settings: Settings, keys: Keys) -> None:
    judged_then_cut(settings, keys, 4, LEAK + 1)
    published, appender = values(settings, "journal", 0), appending(settings)
    appender.append(settings.topics("registry"), b"of a later version", key=NAME.encode(), partition=0)
    appender.flush()
    assert goes_on(settings, keys)._state.experiments == {}
    assert values(settings, "journal", 0) == published


def test_a_ledger_that_was_cut_before_anything_was_registered_is_judged(settings: Settings, keys: Keys) -> None:
    append_facts(settings, 0, [leak()])
    cut_off(settings, 1)
    goes_on(settings, keys, *story())
    assert entry_of(settings).lifecycle == "stopped"


def test_what_is_deleted_under_a_running_judge_ends_it(settings: Settings, keys: Keys) -> None:
    append_facts(settings, 0, story())
    judge, records = judge_of(settings, keys), ledger_of(settings)
    judge.judge(records[:3])
    with pytest.raises(LedgerIncomplete, match="behind offset 2 the ledger goes on at 5"):
        judge.judge(records[5:])

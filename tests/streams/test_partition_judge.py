"""The judge of one ledger partition on the real broker: what it publishes, what it keeps, how it takes over."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from stoploss import journal
from stoploss.checkpoints import SignedValue, is_due
from stoploss.commands import Command
from stoploss.control.messages import read_command
from stoploss.errors import Fenced, ReplayDiverged
from stoploss.journal import CommandIssued, RequestHandled
from stoploss.ledger import EvidenceBlock, Fact, Request, Tick
from stoploss.replay import StoredEntry, replay
from stoploss.settings import Settings
from stoploss.sight import STATUS_TICKS
from stoploss.signing import Verifier
from stoploss.state import Cursor
from stoploss.verification import Verification, verify
from streams import partition_judge as module
from streams.batches import Record
from streams.partition_judge import Keys, PartitionJudge
from streams.snapshot_store import read_snapshots
from streams.transactions import Outgoing
from tests.installation import (
    append_facts,
    appending,
    consumed,
    facts_of,
    headers_of,
    letters_of,
    messages,
    values,
)
from tests.timelines import Timeline, chain_holds, spec, traces, with_gate

pytestmark = pytest.mark.kafka

LEAKS = 9
"""Place in the story of the block that trips a gate."""


def story() -> list[Fact]:
    """Registered, started, applied; two quiet blocks; a third leaks a card number; three seconds pass."""
    timeline = Timeline().started()
    timeline.traces(traces(200, seed=1), block_rows=100)
    timeline.seconds(2)
    timeline.traces(with_gate(traces(50, seed=2, share=1.0), 3, bit=0))
    timeline.seconds(3)
    return [entry.fact for entry in timeline.entries]


def judge_of(settings: Settings, keys: Keys) -> PartitionJudge:
    """A judge that has taken the partition over."""
    judge = PartitionJudge(settings, 0, keys)
    judge.restore()
    return judge


def ledger_of(settings: Settings) -> list[Record]:
    return consumed(settings, "ledger", 0)


def folded(settings: Settings) -> list[bytes]:
    """The journal as a fresh fold of the ledger as recorded has it."""
    entries = [
        StoredEntry(0, record.offset, record.timestamp_ms * 1_000, record.value) for record in ledger_of(settings)
    ]
    return replay(entries, 0, settings.topics("control"))["checkout"]


def commands_of(settings: Settings) -> list[Command]:
    """Verified by the public key alone."""
    verifier = Verifier.load(settings.keys / "monitor.pub")
    topic = settings.topics("control")
    found = messages(settings, "control")
    return [read_command(message.value(), headers_of(message), topic, verifier) for message in found]


def judged_in_pieces(judge: PartitionJudge, records: Sequence[Record], size: int) -> None:
    for start in range(0, len(records), size):
        judge.judge(records[start : start + size])


@pytest.mark.parametrize("size", [1, 4, 100])
def test_whatever_is_fetched_at_once_the_journal_is_the_fold_of_the_ledger(
    settings: Settings, keys: Keys, size: int
) -> None:
    append_facts(settings, 0, story())
    judged_in_pieces(judge_of(settings, keys), ledger_of(settings), size)
    published = values(settings, "journal", 0)
    assert published == folded(settings)
    assert chain_holds(published)
    assert [str(command.action) for command in commands_of(settings)] == ["set_exposure", "stop"]


def test_a_command_waits_for_nothing_that_came_behind_its_evidence(
    settings: Settings, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_facts(settings, 0, story())
    judge, publish, published_at = judge_of(settings, keys), PartitionJudge._publish, []

    def noted(self: PartitionJudge, outgoing: list[Outgoing], touched: dict[str, Cursor]) -> None:
        published_at.extend([self._state.offset] * sum(one.topic == settings.topics("control") for one in outgoing))
        publish(self, outgoing, touched)

    monkeypatch.setattr(PartitionJudge, "_publish", noted)
    judge.judge(ledger_of(settings))
    leak = next(at for at, fact in enumerate(story()) if at > 5 and isinstance(fact, EvidenceBlock))
    assert published_at == [1, leak]
    assert judge._state.offset == len(story()) - 1


def test_how_far_it_is_behind_is_told_though_a_brokers_clock_was_ahead(settings: Settings, keys: Keys) -> None:
    append_facts(settings, 0, story())
    judge, (first, second, *_) = judge_of(settings, keys), ledger_of(settings)
    assert judge.behind_s() == 0
    now_ms = time.time_ns() // 1_000_000
    judge.judge([first._replace(timestamp_ms=now_ms + 3_600_000), second._replace(timestamp_ms=now_ms - 5_000)])
    assert 5 <= judge.behind_s() < 600


def test_runs_that_are_not_seen_are_told_as_a_number(settings: Settings, keys: Keys) -> None:
    """Intake says nothing of any source."""
    timeline = Timeline(spec("health: {blind: {hold: 5s, then: pause, after: 1h}}")).started()
    for _ in range(STATUS_TICKS + 2):
        timeline.append(Tick(0, "judge"))
    append_facts(settings, 0, [entry.fact for entry in timeline.entries])
    judge, records = judge_of(settings, keys), ledger_of(settings)
    judge.judge(records[:-3])
    assert judge.blind_runs() == 0
    judge.judge(records[-3:])
    assert judge.blind_runs() == 1


def test_commands_are_signed_and_say_where_they_belong(settings: Settings, keys: Keys) -> None:
    append_facts(settings, 0, story())
    judge_of(settings, keys).judge(ledger_of(settings))
    stop = commands_of(settings)[-1]
    assert (stop.topic, stop.experiment, stop.exposure) == (settings.topics("control"), "checkout", 0.0)
    headers = dict(headers_of(messages(settings, "control")[-1]))
    assert headers["ce_id"] == stop.command_id.encode()
    assert headers["ce_source"] == f"stoploss/{settings.installation}".encode()


@pytest.mark.parametrize(
    ("snapshots", "died_at"),
    [("none", 1), ("none", LEAKS + 1), ("early", 5), ("early", LEAKS + 1), ("every time", LEAKS), ("every time", 13)],
)
def test_a_successor_publishes_exactly_what_is_missing_and_no_command_twice(
    settings: Settings, keys: Keys, died_at: int, snapshots: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SNAPSHOT_EVERY_ENTRIES", 1)
    append_facts(settings, 0, story())
    records = ledger_of(settings)
    first = judge_of(settings, keys)
    for number, record in enumerate(records[:died_at]):
        first.judge([record])
        if snapshots == "every time" or (snapshots == "early" and number == 2):
            first.snapshot_if_due()
    published_before = values(settings, "journal", 0)

    second = PartitionJudge(settings, 0, keys)
    start = second.restore()
    assert start == {"none": 0, "early": min(3, died_at) if died_at > 2 else 0, "every time": died_at}[snapshots]
    second.judge([record for record in records if record.offset >= start])
    published = values(settings, "journal", 0)
    assert published[: len(published_before)] == published_before
    assert published == folded(settings)
    ids = [command.command_id for command in commands_of(settings)]
    assert len(ids) == len(set(ids)) == 2


def test_entries_from_before_the_snapshot_are_passed_over(
    settings: Settings, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SNAPSHOT_EVERY_ENTRIES", 1)
    append_facts(settings, 0, story())
    records = ledger_of(settings)
    first = judge_of(settings, keys)
    first.judge(records[:6])
    first.snapshot_if_due()
    judge_of(settings, keys).judge(records)
    assert values(settings, "journal", 0) == folded(settings)


@pytest.mark.parametrize("died_at", [1, LEAKS + 1, 13])
def test_checkpoints_go_out_with_their_entries_each_once_whoever_judges(
    settings: Settings, keys: Keys, died_at: int
) -> None:
    """G9: signed with the monitor's key, of the right entries, and still each once after a judge has died."""
    settings = settings.model_copy(update={"checkpoint_every": 3})
    append_facts(settings, 0, story())
    records = ledger_of(settings)
    judged_in_pieces(judge_of(settings, keys), records[:died_at], 1)
    assert verified(settings).fault is None
    judge_of(settings, keys).judge(records)
    found = verified(settings)
    due = [value for value in folded(settings) if is_due(journal.decode(value), 3)]
    assert (found.fault, found.entries, found.checkpoints) == (None, len(folded(settings)), len(due))


def verified(settings: Settings) -> Verification:
    """What stands on the topics, by the public key alone."""
    marks = [
        SignedValue(message.value() or b"", (dict(headers_of(message))["stoploss-signature"] or b"").decode())
        for message in messages(settings, "checkpoints")
    ]
    return verify("checkout", values(settings, "journal", 0), marks, Verifier.load(settings.keys / "monitor.pub"))


def test_outputs_and_cursor_are_published_together_or_not_at_all(settings: Settings, keys: Keys) -> None:
    append_facts(settings, 0, story())
    records = ledger_of(settings)
    zombie = judge_of(settings, keys)
    zombie.judge(records[:3])
    successor = judge_of(settings, keys)
    before = everything(settings)
    with pytest.raises(Fenced):
        zombie.judge(records[3:])
    assert everything(settings) == before

    successor.judge(records)
    cursor = read_snapshots(settings.need_kafka(), settings.topics("snapshots"), 0, keys.secret).cursors["checkout"]
    last = values(settings, "journal", 0)[-1]
    assert (cursor.number, cursor.chain) == (journal.decode(last).number + 1, journal.hash_of(last))


def everything(settings: Settings) -> dict[str, list[bytes]]:
    names = ("journal", "checkpoints", "control", "registry", "measures", "snapshots")
    return {name: values(settings, name, 0) for name in names}


@pytest.mark.parametrize("tampered", [{"chain": "0" * 64}, {"number": 99}], ids=["chain", "number"])
def test_a_fold_that_does_not_lead_to_what_was_published_ends_the_judge_before_it_says_anything(
    settings: Settings, keys: Keys, tampered: dict[str, object]
) -> None:
    append_facts(settings, 0, story())
    records = ledger_of(settings)
    judge_of(settings, keys).judge(records[:5])
    judge_of(settings, keys)  # a successor waits until what was committed before it can be read
    tamper(settings, tampered)
    before = everything(settings)
    with pytest.raises(ReplayDiverged, match=r"'checkout'.*judge it with the version that wrote it"):
        judge_of(settings, keys).judge(records)
    assert everything(settings) == before


def tamper(settings: Settings, changes: dict[str, object]) -> None:
    """Another cursor than the one that was published."""
    cursor = json.loads([value for value in values(settings, "snapshots", 0) if value.startswith(b"{")][-1])
    appender = appending(settings)
    changed = json.dumps({**cursor, **changes}).encode()
    appender.append(settings.topics("snapshots"), changed, key=b"cursor/checkout", partition=0)
    appender.flush()


def test_a_ledger_entry_that_cannot_be_read_is_a_dead_letter_and_the_next_is_judged(
    settings: Settings, keys: Keys
) -> None:
    good = story()
    block = good[3]
    assert isinstance(block, EvidenceBlock)
    contradicts_itself = replace(block, rows=7)
    append_facts(settings, 0, [*good[:2], b"no fact at all", contradicts_itself, *good[2:]])
    judge_of(settings, keys).judge(ledger_of(settings))
    letters = sorted(letters_of(settings), key=lambda letter: letter.offset)  # they have no key, so no order
    assert [(letter.offset, letter.stage, letter.code) for letter in letters] == [
        (2, "judge", "malformed"),
        (3, "judge", "malformed"),
    ]
    assert letters[0].value == b"no fact at all"
    assert "7 rows" in letters[1].reason
    assert [str(command.action) for command in commands_of(settings)] == ["set_exposure", "stop"]
    assert values(settings, "journal", 0) == folded(settings)


def test_a_refused_request_changes_nothing_but_is_answered(settings: Settings, keys: Keys) -> None:
    asked = Timeline()
    asked.ask("register")
    asked.ask("start", accepted=False)
    append_facts(settings, 0, [entry.fact for entry in asked.entries])
    judge_of(settings, keys).judge(ledger_of(settings))
    conclusions = [journal.decode(value).conclusion for value in values(settings, "journal", 0)]
    answers = [c.accepted for c in conclusions if isinstance(c, RequestHandled)]
    assert answers == [True, False]
    assert not [c for c in conclusions if isinstance(c, CommandIssued)]


def test_a_judge_announces_its_version_with_each_take_over_and_ticks_into_the_ledger(
    settings: Settings, keys: Keys
) -> None:
    first = judge_of(settings, keys)
    first.announce()
    first.tick("me")
    assert [type(fact).__name__ for fact in facts_of(settings, 0)] == ["JudgeVersion", "Tick"]
    assert facts_of(settings, 1) == []


def test_a_request_told_twice_is_handled_once(settings: Settings, keys: Keys) -> None:
    facts = story()[:2]
    append_facts(settings, 0, [facts[0], facts[0], facts[1], facts[1]])
    judge_of(settings, keys).judge(ledger_of(settings))
    conclusions = [journal.decode(value).conclusion for value in values(settings, "journal", 0)]
    handled = [c.request_id for c in conclusions if isinstance(c, RequestHandled)]
    assert handled == [fact.request_id for fact in facts if isinstance(fact, Request)]

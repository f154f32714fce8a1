"""The recorder on the real Kafka and ClickHouse: everything stands there once, however often it is inserted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Message
from faust.types import TP

from stoploss import ledger
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.settings import Settings
from stoploss.store import replay_reads
from stoploss.store.client import connect
from streams.batches import Batch
from streams.partition_judge import PartitionJudge
from streams.recorder import Recorder
from tests.installation import Installation, Kafka, append_facts, consumed, installed, messages, values
from tests.timelines import Timeline, traces, with_gate

pytestmark = pytest.mark.kafka

NO_FACT = b"no fact at all"
WRITTEN = ("ledger", "journal", "checkpoints", "measures", "control", "registry", "deadletter")
VIEWS = {
    "ledger": "ledger_v",
    "journal": "journal_v",
    "checkpoints": "checkpoints_v",
    "control": "commands_v",
    "registry": "registry_v",
}

Gathered = list[tuple[str, Batch]]


@pytest.fixture(scope="module")
def installation(
    kafka: Kafka, clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A judged story stands on the topics, with an entry in its ledger that nobody can read."""
    home = tmp_path_factory.mktemp("recorder")
    with installed(kafka, home, clickhouse_url=clickhouse.url) as installation:
        settings = installation.settings
        story = Timeline().started()
        story.traces(with_gate(traces(100, seed=1, share=1.0), 3, bit=0))
        story.seconds(2)
        append_facts(settings, 0, [*(entry.fact for entry in story.entries), NO_FACT])
        judge = PartitionJudge(settings, 0, installation.keys)
        judge.restore()
        judge.judge(consumed(settings, "ledger", 0))
        yield installation


@pytest.fixture(scope="module")
def settings(installation: Installation) -> Settings:
    return installation.settings


@pytest.fixture(scope="module")
def gathered(settings: Settings) -> Gathered:
    """Everything that was written, a batch for each partition."""
    read = [(name, partition, messages(settings, name, partition)) for name in WRITTEN for partition in (0, 1)]
    return [(name, batch_of(settings, name, partition, found)) for name, partition, found in read if found]


def batch_of(settings: Settings, name: str, partition: int, found: list[Message]) -> Batch:
    return Batch(TP(settings.topics(name), partition), found, 1)


@pytest.fixture(scope="module")
def recorded(settings: Settings, gathered: Gathered) -> Client:
    """The store after all of it was inserted, once more, and half of it by another recorder."""
    recorder = Recorder(settings)
    assert recorder._insert(gathered)
    assert recorder._insert(gathered)
    assert Recorder(settings)._insert(gathered[:3])
    return client_of(settings)


def client_of(settings: Settings) -> Client:
    return connect(settings.need_clickhouse(), database=settings.clickhouse_database)


def count(client: Client, view: str) -> int:
    return int(client.query(f"SELECT count() FROM {view}").result_rows[0][0])


def test_the_same_records_twice_show_once(settings: Settings, recorded: Client) -> None:
    expected = {view: len(values(settings, name)) for name, view in VIEWS.items()}
    assert {view: count(recorded, view) for view in VIEWS.values()} == expected
    assert (expected["commands_v"], count(recorded, "dead_letters_v")) == (2, 1)


def test_ledger_and_journal_stand_there_byte_for_byte_in_order(settings: Settings, recorded: Client) -> None:
    stored = list(replay_reads.read_ledger(recorded, 0))
    assert [(r.offset, r.at_micros, r.value) for r in stored] == [
        (m.offset(), m.timestamp()[1] * 1_000, m.value()) for m in messages(settings, "ledger", 0)
    ]
    assert [r.value for r in replay_reads.read_journal(recorded, "checkout")] == values(settings, "journal", 0)


def test_a_ledger_entry_that_nobody_can_read_is_kept_all_the_same(recorded: Client) -> None:
    found = recorded.query("SELECT kind FROM ledger_v WHERE value = {value:String}", {"value": NO_FACT.decode()})
    assert found.result_rows == [("unreadable",)]


def test_without_clickhouse_nothing_is_done_and_nothing_is_lost(settings: Settings, gathered: Gathered) -> None:
    """The batch is not complete, so it is inserted later: as it was."""
    away = Recorder(settings.model_copy(update={"clickhouse_url": "http://127.0.0.1:1"}))
    assert not away._insert(gathered)


def test_one_record_that_cannot_be_read_does_not_keep_its_neighbours_out(
    settings: Settings, gathered: Gathered
) -> None:
    (journal,) = [batch for name, batch in gathered if name == "journal"]
    first, *others = journal.messages
    wrong = Message(journal.tp.topic, 0, 9_999, value=ledger.encode(ledger.Tick(0, "a fact on the wrong topic")))
    elsewhere = settings.model_copy(update={"clickhouse_database": f"{settings.clickhouse_database}_broken"})
    assert Recorder(elsewhere)._insert([("journal", Batch(journal.tp, [first, wrong, *others], 1))])
    client = client_of(elsewhere)
    assert (count(client, "journal_v"), count(client, "dead_letters_v")) == (len(journal), 1)

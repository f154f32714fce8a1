"""Reading a topic whole: everything committed up to its end, and an end that is found whatever stands there."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from stoploss.embedded.ports import free_port
from stoploss.errors import ConfigurationError
from stoploss.settings import Settings
from streams.reading import ends, newest_timestamp_ms, reader, whole
from tests.installation import Kafka, appending, create_topics, messages, settings_of, values

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    settings = settings_of(kafka, tmp_path)
    create_topics(settings, "journal")
    return settings


@pytest.fixture
def transaction(settings: Settings) -> Producer:
    """One is begun."""
    producer = Producer(
        {"bootstrap.servers": settings.need_kafka(), "transactional.id": settings.installation, "log_level": 2}
    )
    producer.init_transactions()
    producer.begin_transaction()
    return producer


def append(settings: Settings, *records: bytes, partition: int = 0) -> None:
    appender = appending(settings)
    for value in records:
        appender.append(settings.topics("journal"), value, partition=partition)
    appender.flush()


def test_all_partitions_are_read_or_one_of_them(settings: Settings) -> None:
    append(settings, b"a", b"b")
    append(settings, b"c", partition=1)
    assert sorted(values(settings, "journal")) == [b"a", b"b", b"c"]
    assert values(settings, "journal", partition=1) == [b"c"]


def test_an_empty_topic_has_an_end_too(settings: Settings) -> None:
    assert values(settings, "journal") == []
    assert newest_timestamp_ms(settings.need_kafka(), settings.topics("journal")) is None


def test_aborted_records_are_not_read_and_their_markers_do_not_hide_the_end(
    settings: Settings, transaction: Producer
) -> None:
    append(settings, b"before")
    transaction.produce(settings.topics("journal"), b"aborted", partition=0)
    transaction.flush()
    transaction.abort_transaction()
    assert values(settings, "journal", partition=0) == [b"before"]


def test_an_open_transaction_holds_nobody_up_who_reads_what_stands_before_it(
    settings: Settings, transaction: Producer
) -> None:
    append(settings, b"before")
    transaction.produce(settings.topics("journal"), b"open", partition=0)
    transaction.flush()
    append(settings, b"behind")
    assert values(settings, "journal", partition=0) == [b"before"]
    transaction.commit_transaction()
    assert values(settings, "journal", partition=0) == [b"before", b"open", b"behind"]


def test_a_reader_at_the_ends_is_given_only_what_comes_later(settings: Settings) -> None:
    append(settings, b"old")
    consumer = reader(settings.need_kafka())
    consumer.assign(ends(consumer, settings.topics("journal")))
    append(settings, b"new")
    message = consumer.poll(10)
    consumer.close()
    assert message is not None
    assert message.value() == b"new"


def test_the_newest_timestamp_is_that_of_the_last_record_of_all_partitions(settings: Settings) -> None:
    append(settings, b"a")
    append(settings, b"b", partition=1)
    newest = max(message.timestamp()[1] for message in messages(settings, "journal"))
    assert newest_timestamp_ms(settings.need_kafka(), settings.topics("journal")) == newest


def test_a_topic_that_is_missing_is_named_with_the_way_out(kafka: Kafka) -> None:
    with pytest.raises(ConfigurationError, match=r"nobody-made-this .* create it: stoploss topics"):
        list(whole(kafka.bootstrap, "nobody-made-this"))


def test_a_broker_that_is_away_is_told_of_and_not_raised_as_the_driver_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.reading.LOAD_TIMEOUT_S", 0.5)
    with pytest.raises(ConfigurationError, match=r"topic t cannot be read: .*is Kafka up\?"):
        list(whole(f"127.0.0.1:{free_port()}", "t"))

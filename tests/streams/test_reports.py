"""What a broker answers to a record that it has taken for a repeat of an earlier one, and what comes of it."""

from __future__ import annotations

import pytest
from confluent_kafka import Message

from stoploss.errors import DeliveryFailed
from stoploss.settings import Settings
from streams.appender import Appender
from streams.reports import Places
from streams.transactions import Outgoing, Transactor
from tests.installation import values


def delivered(offset: int, topic: str = "ledger", partition: int = 0) -> Message:
    return Message(topic=topic, partition=partition, offset=offset)


def test_a_record_whose_place_is_not_behind_the_last_one_is_a_repeat() -> None:
    places = Places()
    assert [places.is_repeat(delivered(offset)) for offset in (0, 1, 5, 5, 6, 0)] == [False] * 3 + [True, False, True]


def test_each_partition_has_places_of_its_own() -> None:
    places = Places()
    assert not places.is_repeat(delivered(7))
    assert not places.is_repeat(delivered(0, partition=1))
    assert not places.is_repeat(delivered(0, topic="deadletter"))


def test_a_record_of_which_the_broker_does_not_tell_the_place_was_taken_for_a_repeat() -> None:
    places = Places()
    assert [places.is_repeat(delivered(offset)) for offset in (3, -1, -1_001, 4)] == [False, True, True, False]


@pytest.mark.kafka
def test_an_appender_delivers_nothing_behind_a_record_that_was_taken_for_a_repeat(settings: Settings) -> None:
    appender, topic = Appender(settings.need_kafka()), settings.topics("ledger")
    appender.append(topic, b"first", partition=0)
    appender.flush()
    appender._report(None, delivered(0, topic))
    with pytest.raises(DeliveryFailed, match="ledger was taken for a repeat, or the topic was made again"):
        appender.append(topic, b"second", partition=0)
    assert values(settings, "ledger") == [b"first"]


@pytest.mark.kafka
def test_a_transaction_with_a_record_that_was_taken_for_a_repeat_is_not_committed(settings: Settings) -> None:
    judge = Transactor(settings.need_kafka(), f"{settings.installation}-judge-0", 0)
    judge.open()
    topic = settings.topics("journal")
    judge._places.is_repeat(delivered(99, topic))  # as if so much stood there already
    with pytest.raises(DeliveryFailed, match="judge-0: a record was taken for a repeat"):
        judge.publish([Outgoing(topic, b"k", b"1")])
    Transactor(
        settings.need_kafka(), f"{settings.installation}-judge-0", 0
    ).open()  # a successor ends what it had begun
    assert values(settings, "journal") == []

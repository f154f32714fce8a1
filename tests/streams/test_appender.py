"""The appender on the real broker: in order and whole up to the first failure, and nothing behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stoploss.errors import DeliveryFailed
from stoploss.settings import Settings
from streams import appender as module
from streams.appender import Appender
from tests.installation import Kafka, create_topics, messages, settings_of, values

pytestmark = pytest.mark.kafka

LARGEST_BYTES = 500_000


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    """An installation whose topics take records of up to half a megabyte."""
    settings = settings_of(kafka, tmp_path)
    create_topics(settings, "ledger", "deadletter", max_message_bytes=str(LARGEST_BYTES))
    return settings


def noise(number: int, size: int) -> bytes:
    """Incompressible, and told apart by its first byte."""
    return bytes([number]) + np.random.default_rng(number).bytes(size - 1)


def append_all(appender: Appender, topic: str, sizes: list[int]) -> None:
    for number, size in enumerate(sizes):
        appender.append(topic, noise(number, size), partition=0)
    appender.flush()


def test_records_stand_in_their_partition_in_the_order_of_appending_with_key_and_headers(settings: Settings) -> None:
    appender = Appender(settings.need_kafka())
    for number in range(2_000):
        appender.append(settings.topics("ledger"), b"%d" % number, key=b"k", partition=1, headers=[("n", b"h")])
    appender.flush()
    found = messages(settings, "ledger", 1)
    assert [message.value() for message in found] == [b"%d" % number for number in range(2_000)]
    assert {message.key() for message in found} == {b"k"}
    assert found[0].headers() == [("n", b"h")]


def test_nothing_is_delivered_behind_a_record_that_the_broker_refused(settings: Settings) -> None:
    appender = Appender(settings.need_kafka())
    sizes = [400_000, 600_000, *[400_000] * 9]
    with pytest.raises(DeliveryFailed, match="Message size too large"):
        append_all(appender, settings.topics("ledger"), sizes)
    assert [value[0] for value in values(settings, "ledger", 0)] in ([], [0])


def test_an_appender_that_failed_once_says_so_for_good_and_delivers_nothing_more(settings: Settings) -> None:
    appender = Appender(settings.need_kafka())
    appender.append(settings.topics("ledger"), noise(1, 600_000), partition=0)
    with pytest.raises(DeliveryFailed):
        appender.flush()
    with pytest.raises(DeliveryFailed, match="starts again from its committed offset"):
        appender.append(settings.topics("deadletter"), b"later")
    with pytest.raises(DeliveryFailed):
        appender.flush()
    assert values(settings, "ledger") == values(settings, "deadletter") == []


def test_a_record_that_no_producer_takes_ends_it_at_once_and_what_waited_is_not_sent_later(settings: Settings) -> None:
    appender = Appender(settings.need_kafka(), linger_ms=500)
    appender.append(settings.topics("ledger"), b"waits", partition=0)
    with pytest.raises(DeliveryFailed, match=r"a record for .*ledger cannot be queued"):
        appender.append(settings.topics("ledger"), bytes(2_000_000), partition=0)
    with pytest.raises(DeliveryFailed):
        appender.flush()
    assert values(settings, "ledger") == []


def test_a_flush_without_a_broker_gives_up_and_says_how_many_records_were_not_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FLUSH_TIMEOUT_S", 0.2)
    appender = Appender("127.0.0.1:1")
    for _ in range(3):
        appender.append("anything", b"x", partition=0)
    with pytest.raises(DeliveryFailed, match="3 records were not delivered"):
        appender.flush()

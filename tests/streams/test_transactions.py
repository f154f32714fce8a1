"""Outputs of the judge on the real broker: whole or not at all, and only from the owner that came last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import KafkaException, Producer

from stoploss.errors import DeliveryFailed, Fenced
from stoploss.ledger import Request
from stoploss.settings import Settings
from streams.transactions import Outgoing, Transactor
from tests.installation import Installation, Kafka, append_facts, create_topics, installed, settings_of, values
from tests.timelines import SPEC

pytestmark = pytest.mark.kafka

EXIT_CODE = 70
LARGEST_COMMAND_BYTES = 10_000


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    settings = settings_of(kafka, tmp_path)
    create_topics(settings, "journal")
    create_topics(settings, "control", max_message_bytes=str(LARGEST_COMMAND_BYTES))
    return settings


def owner(settings: Settings, partition: int = 0) -> Transactor:
    """Whoever was the owner of the partition is fenced by the new one."""
    transactor = Transactor(settings.need_kafka(), f"{settings.installation}-judge-{partition}", partition)
    transactor.open()
    return transactor


def outgoing(settings: Settings, topic: str, *records: bytes) -> list[Outgoing]:
    return [Outgoing(settings.topics(topic), b"k", value) for value in records]


def test_all_records_of_a_transaction_stand_in_the_partition_of_their_ledger_in_order(settings: Settings) -> None:
    transactor = owner(settings, partition=1)
    transactor.publish([*outgoing(settings, "journal", b"1", b"2"), *outgoing(settings, "control", b"c")])
    transactor.publish(outgoing(settings, "journal", b"3"))
    assert values(settings, "journal", 1) == [b"1", b"2", b"3"]
    assert values(settings, "control", 1) == [b"c"]
    assert values(settings, "journal", 0) == []


def test_a_transaction_of_which_the_broker_refuses_one_record_is_not_seen_at_all(settings: Settings) -> None:
    transactor = owner(settings)
    transactor.publish(outgoing(settings, "journal", b"before"))
    too_large = np.random.default_rng(1).bytes(2 * LARGEST_COMMAND_BYTES)
    with pytest.raises(DeliveryFailed, match=r"control: .*Message size too large"):
        transactor.publish([*outgoing(settings, "journal", b"with it"), *outgoing(settings, "control", too_large)])
    assert values(settings, "journal") == [b"before"]
    assert values(settings, "control") == []


def test_a_second_owner_fences_the_first_whose_next_publication_is_refused_and_not_seen(settings: Settings) -> None:
    first = owner(settings)
    first.publish(outgoing(settings, "journal", b"of the first"))
    second = owner(settings)
    with pytest.raises(Fenced, match="another judge has taken over partition 0"):
        first.publish(outgoing(settings, "journal", b"of a zombie"))
    second.publish(outgoing(settings, "journal", b"of the second"))
    assert values(settings, "journal") == [b"of the first", b"of the second"]


def test_a_fenced_owner_stays_fenced(settings: Settings) -> None:
    first, second = owner(settings), owner(settings)
    for _ in range(2):
        with pytest.raises(Fenced):
            first.publish(outgoing(settings, "journal", b"of a zombie"))
    second.publish(outgoing(settings, "journal", b"of the second"))
    assert values(settings, "journal") == [b"of the second"]


def test_what_a_fenced_owner_had_sent_but_not_committed_is_never_seen(settings: Settings) -> None:
    first = Producer(
        {
            "bootstrap.servers": settings.need_kafka(),
            "transactional.id": f"{settings.installation}-judge-0",
            "log_level": 2,
        }
    )
    first.init_transactions()
    first.begin_transaction()
    first.produce(settings.topics("journal"), b"half of it", partition=0)
    first.flush()
    second = owner(settings)
    second.publish(outgoing(settings, "journal", b"of the second"))
    with pytest.raises(KafkaException):
        first.commit_transaction()
    assert values(settings, "journal") == [b"of the second"]


def test_owners_of_different_partitions_do_not_fence_each_other(settings: Settings) -> None:
    zero, one = owner(settings, 0), owner(settings, 1)
    zero.publish(outgoing(settings, "journal", b"0"))
    one.publish(outgoing(settings, "journal", b"1"))
    assert [values(settings, "journal", partition) for partition in (0, 1)] == [[b"0"], [b"1"]]


# ---- a whole judge -------------------------------------------------------------------------------


@pytest.fixture
def installation(kafka: Kafka, tmp_path: Path) -> Iterator[Installation]:
    with installed(kafka, tmp_path) as installation:
        yield installation


def test_a_judge_that_is_fenced_exits_with_70_and_does_not_fence_its_successor(installation: Installation) -> None:
    settings = installation.settings
    judge = installation.worker("judge")
    append_facts(settings, 0, [request("register")])
    installation.wait(lambda: len(values(settings, "journal", 0)) == 1)

    successor = Transactor(settings.need_kafka(), f"stoploss-{settings.installation}-judge-0", 0)
    successor.open()
    append_facts(settings, 0, [request("start")])
    assert judge.exit_code() == EXIT_CODE, judge.said
    assert "another judge has taken over partition 0" in judge.said
    successor.publish(outgoing(settings, "control", b"of the successor"))
    assert values(settings, "control", 0) == [b"of the successor"]
    assert len(values(settings, "journal", 0)) == 1


def request(action: str) -> Request:
    spec = SPEC if action == "register" else None
    return Request(action, "checkout", action, "ada", "", 0, spec, partition=0, accepted=True, opinion="")

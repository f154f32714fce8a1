"""The canary on the real broker: from the registrar through intake and judge to a lease; and what services count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faust.types import TP

from stoploss.canary import canary_of
from stoploss.emit.encoding import encode_count
from stoploss.evidence import block_columns
from stoploss.intake.pipeline import read_traces
from stoploss.leases import LeasedRun
from stoploss.leases.message import read_lease
from stoploss.ledger import AssignmentsCounted, BegunCount, EvidenceBlock
from stoploss.signing import Verifier
from streams.admin import Admin
from streams.batches import Batch
from streams.canary import CanarySender
from streams.feeding import Feeder
from streams.partition_judge import PartitionJudge
from streams.registrar import Registrar
from tests.installation import (
    Installation,
    Kafka,
    append_facts,
    appending,
    consumed,
    facts_of,
    headers_of,
    installed,
    messages,
    registry_of,
    values,
)
from tests.intake.records import SALT
from tests.timelines import Timeline

pytestmark = pytest.mark.kafka

HOME = 1


@pytest.fixture
def installation(kafka: Kafka, tmp_path: Path) -> Iterator[Installation]:
    """One experiment runs; no role does."""
    with installed(kafka, tmp_path) as installation:
        append_facts(installation.settings, HOME, [entry.fact for entry in Timeline().started().entries])
        judged(installation)
        yield installation


def judged(installation: Installation) -> None:
    judge = PartitionJudge(installation.settings, HOME, installation.keys)
    judge.restore()
    judge.judge(consumed(installation.settings, "ledger", HOME))


def sung(installation: Installation, *ledger_partitions: int) -> None:
    settings = installation.settings
    sender = CanarySender(settings.need_kafka(), settings.topics("traces"), Admin(settings.need_kafka()))
    sender.send(ledger_partitions)
    assert sender._producer.flush(30) == 0


def fed(installation: Installation) -> None:
    """Everything on the source topic, as intake takes it."""
    settings = installation.settings
    feeder = Feeder(settings, "intake", {"traces": read_traces}, "traces", SALT)
    topic = settings.topics("traces")
    batches = [Batch(TP(topic, p), messages(settings, "traces", p), 1) for p in range(settings.source_partitions)]
    feeder._publish(feeder._read(batches))
    feeder._registry.stop()


def test_a_canary_goes_through_every_source_partition_into_the_ledger_and_is_stored_nowhere_else(
    installation: Installation,
) -> None:
    sung(installation, HOME)
    fed(installation)
    blocks = [fact for fact in facts_of(installation.settings, HOME) if isinstance(fact, EvidenceBlock)]
    [block] = [block for block in blocks if block.experiment == canary_of(HOME)]
    assert {source.partition for source in block.sources} == {0, 1}
    assert block_columns(block).rows == 2
    assert facts_of(installation.settings, 0) == []
    for name in ("traces_clean", "deadletter"):
        assert values(installation.settings, name) == []


def test_a_ledger_partition_without_an_experiment_hears_no_canary(installation: Installation) -> None:
    sung(installation)
    assert messages(installation.settings, "traces") == []


def test_a_canary_that_came_through_is_a_signed_lease_stamped_by_the_broker(installation: Installation) -> None:
    settings = installation.settings
    for _ in range(2):
        sung(installation, HOME)
    fed(installation)
    judged(installation)
    [message] = messages(settings, "leases")
    lease = read_lease(message.value(), headers_of(message), Verifier.load(settings.keys / "monitor.pub"))
    assert (message.partition(), lease.partition, lease.experiments) == (HOME, HOME, (LeasedRun("checkout", 1),))
    newest = consumed(settings, "ledger", HOME)[-1]
    assert (lease.watermark, lease.at) == (newest.offset, newest.timestamp_ms * 1_000)
    assert abs(message.timestamp()[1] * 1_000 - lease.at) < 60_000_000


def test_nobody_takes_the_canary_for_an_experiment(installation: Installation) -> None:
    sung(installation, HOME)
    fed(installation)
    judged(installation)
    assert registry_of(installation.settings, canary_of(HOME)) is None
    for name in ("journal", "control", "registry", "measures"):
        assert {message.key() for message in messages(installation.settings, name)} <= {b"checkout"}


def counted(settings_count: int, at: int) -> bytes:
    fields = {"service": "s", "instance": "i", "at": at, "experiment": "checkout", "variant": "small"}
    return encode_count({**fields, "count": settings_count, "interval_s": 10.0}).value


def test_what_services_count_is_a_fact_of_their_experiment_and_what_cannot_be_read_is_passed_over(
    installation: Installation,
) -> None:
    settings, at = installation.settings, time.time_ns() // 1_000
    strange = encode_count(
        {"service": "s", "instance": "i", "at": at, "experiment": "x", "variant": "y", "count": 1, "interval_s": 1.0}
    ).value
    appender = appending(settings)
    for value in (counted(0, at), b"no count", strange, counted(40, at), counted(41, at)):
        appender.append(settings.topics("assignments"), value, partition=0)
    appender.flush()
    registrar = Registrar(settings)
    registrar._append_counts(Batch(TP(settings.topics("assignments"), 0), messages(settings, "assignments", 0), 1))
    registrar._registry.stop()
    facts = [fact for fact in facts_of(settings) if isinstance(fact, AssignmentsCounted)]
    assert facts == [
        AssignmentsCounted("checkout", (BegunCount("small", 41),), f"{settings.topics('assignments')}/0/4")
    ]

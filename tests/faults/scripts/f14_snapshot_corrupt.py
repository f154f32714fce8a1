from __future__ import annotations

from typing import Any

from confluent_kafka import Message, Producer

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import Stage
from tests.installation import messages

SNAPSHOTS_S = 8.0


def snapshots(stage: Stage) -> list[Message]:
    """Parts of snapshots, in the order in which they were written."""
    return [m for m in messages(stage.settings, "snapshots") if (m.key() or b"").startswith(b"snapshot/") and m.value()]


def spoil(stage: Stage) -> int:
    """The newest snapshot of each partition is cut in half, and a newer one of nonsense stands behind it."""
    newest = {message.partition() or 0: message for message in snapshots(stage)}
    producer = Producer({"bootstrap.servers": stage.broker.bootstrap, "acks": "all"})
    for partition, message in newest.items():
        value, headers = message.value() or b"", dict(message.headers() or [])
        generation = int(headers["generation"] or 0) + 1
        _put(producer, message, value[: len(value) // 2], partition, message.key(), headers)
        slot = f"snapshot/{generation % 3}/0".encode()
        _put(
            producer,
            message,
            bytes(range(256)) * 40,
            partition,
            slot,
            {"generation": b"%d" % generation, "parts": b"1"},
        )
    producer.flush()
    return len(newest)


def _put(producer: Producer, like: Message, value: bytes, partition: int, key: Any, headers: dict[str, Any]) -> None:
    producer.produce(like.topic() or "", value, key, partition=partition, headers=list(headers.items()))


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        judge = stage.crew["judge"]
        stage.crew.bend("judge", "snapshots_every=2")
        stage.crew.stop("judge")
        stage.crew.again("judge")
        stage.recovered()
        stage.lasts(SNAPSHOTS_S)
        stage.crew.stop("judge")
        spoiled = spoil(stage)
        stage.crew.again("judge")
        stage.recovered()
        stage.measured.times = 2 * spoiled
        passed_over = judge.said.count("snapshot passed over")
        stage.measured.demand(
            passed_over == 2 * spoiled, f"{passed_over} snapshots were passed over, spoiled were {2 * spoiled}"
        )
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    14,
    "snapshot-corrupt",
    "of each partition, the newest snapshot is truncated and a newer one is nonsense",
    "both are passed over and said so; the state comes from an older one, or from the ledger",
    run,
)

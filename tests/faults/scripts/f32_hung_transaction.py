from __future__ import annotations

import time

from confluent_kafka import Producer

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import HARMED, Stage

HANGS_MS = 15_000
SEEN_WITHIN_S = 40.0


def hang(stage: Stage) -> Producer:
    """A transaction on every partition of the control topic that nobody ends; the broker aborts it in the end."""
    producer = Producer(
        {
            "bootstrap.servers": stage.broker.bootstrap,
            "transactional.id": f"{stage.settings.installation}-stranger",
            "transaction.timeout.ms": HANGS_MS,
            "log_level": 0,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for partition in range(stage.settings.ledger_partitions):
        producer.produce(stage.settings.topics("control"), b"hung", partition=partition)
    producer.flush(30)
    return producer


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        since_s = time.monotonic()
        hung = hang(stage)
        took_s = stage.stop_by_leak(SEEN_WITHIN_S * 2)
        stage.measured.times = 1
        stage.measured.notes.append(f"the stop was seen {took_s:.1f} s after the leak, a hung transaction of 15 s")
        stage.measured.demand(time.monotonic() - since_s < SEEN_WITHIN_S, f"the stop took {took_s:.1f} s")
        stage.measured.demand(stage.flag(HARMED).get("exposure") == 0, "the stop was not obeyed")
        found = stage.verdict()
        del hung
        return found


FAULT = Fault(
    32,
    "hung-transaction",
    f"a stranger's transaction of {HANGS_MS // 1000} s stays open on the control topic; a stop is due",
    "the stop is written behind it and obeyed as soon as the broker has aborted it",
    run,
)

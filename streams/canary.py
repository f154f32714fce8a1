"""Sends the canary's traces. One that is not delivered in time is given up: that it is missing says what it must."""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog
from confluent_kafka import KafkaError, Message, Producer

from stoploss.canary import SERVICE, VARIANT, canary_of
from stoploss.emit.assignment import Assignment
from stoploss.emit.encoding import encode_trace
from stoploss.errors import ConfigurationError
from stoploss.kafka import connection
from streams.admin import Admin

log = structlog.get_logger("stoploss.canary")

GIVEN_UP_AFTER_MS = 5_000
"""A broker that thaws must not be given the canaries of all the time that it was frozen."""


class CanarySender:
    """Never waits for a delivery; once it is made it never fails."""

    def __init__(self, bootstrap: str, topic: str, admin: Admin) -> None:
        self._topic, self._admin = topic, admin
        if topic not in admin.existing():
            raise ConfigurationError(f"topic {topic} is not there; create it: stoploss topics")
        self._producer = Producer(
            {
                **connection(bootstrap),
                "acks": "all",
                "linger.ms": 0,
                "message.timeout.ms": GIVEN_UP_AFTER_MS,
                "log_level": 0,
            }
        )

    def send(self, ledger_partitions: Iterable[int]) -> None:
        """One trace into every source partition, assigned to the canary of each of these ledger partitions."""
        assignments = [Assignment(canary_of(partition), VARIANT) for partition in sorted(ledger_partitions)]
        self._producer.poll(0)
        if not assignments:
            return
        try:
            source_partitions = self._admin.existing().get(self._topic, 0)  # there may be more of them by now
        except ConfigurationError as error:
            log.warning("no canary is sent", reason=str(error))
            return
        at = time.time_ns() // 1_000
        for partition in range(source_partitions):
            fields = {"trace_id": f"canary-{partition}-{at}", "at": at, "service": SERVICE, "assignments": assignments}
            value = encode_trace(fields).value
            self._producer.produce(self._topic, value, partition=partition, on_delivery=_report)


def _report(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        log.warning("canary not delivered", partition=message.partition(), reason=error.str())

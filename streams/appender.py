"""An idempotent producer that either delivers everything in order or fails for good.

A source's rows must reach the ledger in order and without gaps, so the first failed delivery report ends it: what is
queued is purged, nothing is sent later, and the worker restarts from its committed offset.

librdkafka alone would go on behind a failed record: it counts anew and sends the next ones before anybody has read the
report (seen). So a refused record is fatal to it (gapless), and none expires by itself: `flush` gives up on all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from stoploss.errors import DeliveryFailed
from stoploss.kafka import IN_ORDER, connection
from streams.reports import OR_ANEW, Places

Headers = Sequence[tuple[str, bytes]]
FLUSH_TIMEOUT_S = 30.0
ANY_PARTITION = -1
CONSEQUENCES = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)  # of a failure that another report tells of


class Appender:
    """One producer of one worker; use it from one thread at a time."""

    def __init__(self, bootstrap: str, *, linger_ms: int = 2) -> None:
        self._producer = Producer(
            {
                **connection(bootstrap),
                **IN_ORDER,
                "enable.gapless.guarantee": True,
                "delivery.timeout.ms": 0,
                "acks": "all",
                "linger.ms": linger_ms,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 200_000,
                "log_level": 0,
            }
        )
        self._failure: str | None = None
        self._places = Places()

    def append(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        """Queues one record. Raises DeliveryFailed once any earlier one has failed."""
        self._check()
        try:
            self._producer.produce(
                topic,
                value,
                key,
                headers=list(headers),
                on_delivery=self._report,
                partition=ANY_PARTITION if partition is None else partition,
            )
        except (BufferError, KafkaException) as error:
            self._fail(f"a record for {topic} cannot be queued: {error}")
        self._serve(lambda: self._producer.poll(0))

    def flush(self) -> None:
        """Returns when everything queued is on the brokers; raises DeliveryFailed otherwise."""
        left = self._serve(lambda: self._producer.flush(FLUSH_TIMEOUT_S))
        self._check()
        if left:
            self._fail(f"{left} records were not delivered within {FLUSH_TIMEOUT_S:.0f} s")

    def _serve(self, call: Callable[[], int]) -> int:
        """Runs delivery reports. A fatal error is raised out of them, as SystemError where a report came behind it."""
        try:
            return call()
        except (KafkaException, SystemError) as error:
            self._fail(self._failure or f"the producer cannot go on: {error.__cause__ or error}")

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None and self._places.is_repeat(message):
            self._failure = self._failure or f"a record for {message.topic()} was taken for a repeat, {OR_ANEW}"
        elif error is not None and self._failure is None and error.code() not in CONSEQUENCES:
            self._failure = f"a record for {message.topic()} was not delivered: {error.str()}"

    def _check(self) -> None:
        if self._failure is not None:
            self._fail(self._failure)

    def _fail(self, why: str) -> NoReturn:
        self._failure = why
        self._producer.purge()
        raise DeliveryFailed(f"{why}; this worker ends and starts again from its committed offset")

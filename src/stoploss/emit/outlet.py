"""The Kafka producer behind a tracer; only the sender's thread touches it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from stoploss.emit.counters import Counters
from stoploss.kafka import IN_ORDER

KAFKA_LOG = logging.getLogger("stoploss.emit.kafka")
NOT_DELIVERED = "not_delivered_at_close"
PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
FULL_WAIT_S = 0.05
FLUSH_BEFORE_REPLACING_S = 1.0

DEFAULTS: Mapping[str, Any] = {
    **IN_ORDER,
    "acks": "all",
    "linger.ms": 1,  # on top of the sender's own gathering of 5 ms
    "compression.type": "lz4",
    "message.timeout.ms": 120_000,
    "queue.buffering.max.kbytes": 65_536,
    "log.connection.close": False,
}
"""What a service may override, setting by setting, by `producer_config`."""


class OncePerInterval(logging.Filter):
    """Lets one line of each level through per interval: librdkafka repeats itself at every attempt to connect."""

    def __init__(self, interval_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._monotonic_s = monotonic_s
        self._passed_s: dict[int, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now_s = self._monotonic_s()
        if now_s - self._passed_s.get(record.levelno, float("-inf")) < self._interval_s:
            return False
        self._passed_s[record.levelno] = now_s
        return True


KAFKA_LOG.addFilter(OncePerInterval(interval_s=10.0))


class Outlet:
    """Produces framed values and counts what becomes of each.

    out_of_time  asked while the client's buffer is full: True once waiting for room has no point
    """

    def __init__(self, config: Mapping[str, Any], counters: Counters, out_of_time: Callable[[], bool]) -> None:
        self._config = {**DEFAULTS, **config}
        self._counters = counters
        self._out_of_time = out_of_time
        self._taking_back = False
        self._taken_back: list[Message] = []
        self._producer: Producer | None = self._connected()

    def _connected(self) -> Producer:
        """Raises KafkaException for settings that librdkafka refuses; an absent broker is no error here."""
        return Producer(self._config, logger=KAFKA_LOG)

    def produce(self, topic: str, key: str, value: bytes, *, counted: bool) -> None:
        """Hand a value to the client. `counted`: it holds a place among the pending, and gives it back when settled."""
        if self._handed_over(topic, key, value, counted=counted) and counted:
            self._counters.sent()

    def _handed_over(self, topic: str, key: str | bytes, value: bytes, *, counted: bool) -> bool:
        on_delivery = self._settle if counted else _ignore
        while True:
            try:
                if self._producer is None:
                    self._producer = self._connected()
                self._producer.produce(topic, value, key=key, on_delivery=on_delivery)
            except BufferError:
                if not self._out_of_time():
                    self.poll(FULL_WAIT_S)
                    continue
                self._refused(NOT_DELIVERED, counted=counted)
            except KafkaException as error:
                self._refused(_cause(error.args[0]), counted=counted)
                self._replace_if_broken(error.args[0])
            else:
                return True
            return False

    def poll(self, timeout_s: float = 0.0) -> None:
        self._send_what_was_taken_back()
        if self._producer is not None:
            self._producer.poll(timeout_s)

    def flush(self, timeout_s: float) -> None:
        self._send_what_was_taken_back()
        if self._producer is not None:
            self._producer.flush(timeout_s)

    def disconnect(self, timeout_s: float) -> bool:
        """End the client and its threads until there is something to send; False where something is on the wire.

        What the client has not sent yet is taken back, and goes to the next one.
        """
        if self._producer is not None:
            self._taking_back = True
            self._producer.purge(in_queue=True, in_flight=False)
            on_the_wire = self._producer.flush(timeout_s)
            self._taking_back = False
            if on_the_wire:
                return False
        self._producer = None
        return True

    def _send_what_was_taken_back(self) -> None:
        taken_back, self._taken_back = self._taken_back, []
        for message in taken_back:
            topic, key, value = message.topic() or "", message.key() or b"", message.value() or b""
            self._handed_over(topic, key, value, counted=True)

    def close(self) -> None:
        """Give up what is not delivered; each record is counted as such before this returns."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(FLUSH_BEFORE_REPLACING_S)

    def _settle(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._counters.delivered()
        elif self._taking_back and error.code() == KafkaError._PURGE_QUEUE:
            self._taken_back.append(message)
        else:
            self._counters.lost(_cause(error))

    def _refused(self, cause: str, *, counted: bool) -> None:
        if counted:
            self._counters.lost(cause)

    def _replace_if_broken(self, error: KafkaError) -> None:
        """After a fatal error an idempotent producer refuses everything for good; a new one starts afresh."""
        if error.fatal() or error.code() == KafkaError._FATAL:
            KAFKA_LOG.warning("the producer is broken (%s) and is replaced", error.str())
            self.close()
            self._producer = self._connected()


def _cause(error: KafkaError) -> str:
    return NOT_DELIVERED if error.code() in PURGED else f"kafka: {error.name()}"


def _ignore(_error: KafkaError | None, _message: Message) -> None:
    """Assignment counts are cumulative: the next one makes up for a lost one."""

"""Following one topic from a thread of its own, without a group: for what a service hears from the monitor.

Nothing here is raised into the service, and an absent broker is only waited for. A forked child has no thread any more
and so hears nothing: begin to follow after fork().
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from stoploss.kafka import connection

log = logging.getLogger("stoploss.emit.follow")

POLL_S = 0.1
AGAIN_S = 2.0
METADATA_S = 0.25
CLOSE_S = 5.0

Take = Callable[[Message], bool]
"""Is given each record; False asks to go on at the end of its partition, past all that stands there by now."""


def consumer_settings(bootstrap: str | None, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **(connection(bootstrap) if bootstrap else {}),
        "group.id": "stoploss-service",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "latest",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 1,
        "reconnect.backoff.max.ms": 1_000,
        "log.connection.close": False,
        "log_level": 2,
        **more,
    }


@dataclass(slots=True)
class Follower:
    """start: OFFSET_END or OFFSET_BEGINNING; caught_up: everything that stood there at the start has been taken."""

    config: Mapping[str, Any]
    topic: str
    take: Take
    start: int = OFFSET_END
    caught_up: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"stoploss-{self.topic}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except KafkaException as error:
                log.warning("cannot follow %s: %s", self.topic, error)
                self._stop.wait(AGAIN_S)

    def _follow(self) -> None:
        """With a client of its own. Raises KafkaException for settings that it refuses, and where it cannot go on."""
        consumer = Consumer(dict(self.config), logger=log)
        try:
            self._read(consumer)
        finally:
            consumer.close()

    def _read(self, consumer: Consumer) -> None:
        ahead = self._assign(consumer)
        while not self._stop.is_set():
            message = consumer.poll(POLL_S)
            if message is None:
                continue
            error = message.error()
            if error is None:
                self._hand_over(consumer, message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ahead.discard(message.partition() or 0)
                if not ahead:
                    self.caught_up.set()
            else:
                log.warning("cannot read %s: %s", self.topic, error.str())

    def _assign(self, consumer: Consumer) -> set[int]:
        """All partitions of the topic, as soon as a broker tells them."""
        while not self._stop.is_set():
            try:
                found = consumer.list_topics(self.topic, timeout=METADATA_S).topics[self.topic]
            except KafkaException:
                continue  # no broker yet; the client's own log says so
            if found.error is None:
                consumer.assign([TopicPartition(self.topic, number, self.start) for number in found.partitions])
                return set(found.partitions)
            log.warning("cannot follow %s: %s", self.topic, found.error.str())
            self._stop.wait(AGAIN_S)
        return set()

    def _hand_over(self, consumer: Consumer, message: Message) -> None:
        if not self.take(message):
            consumer.seek(TopicPartition(self.topic, message.partition() or 0, OFFSET_END))

"""The registry as a table in memory: read whole when a worker starts, followed from then on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from stoploss import registry
from stoploss.errors import ConfigurationError, WireError
from stoploss.registry import RegistryEntry
from streams.reading import LOAD_TIMEOUT_S, partitions_from_start, reader

log = structlog.get_logger("stoploss.registry")

POLL_S = 0.2


class RegistryView:
    """Entries by experiment. `start` returns once everything written so far is in; a thread follows what comes."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self.version = 0
        self._entries: dict[str, RegistryEntry] = {}
        self._bootstrap = bootstrap
        self._stop = threading.Event()
        self._loaded = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._follow, name="registry-view", daemon=True)

    def start(self) -> RegistryView:
        self._thread.start()
        if not self._loaded.wait(LOAD_TIMEOUT_S):
            raise ConfigurationError(f"topic {self.topic} could not be read within {LOAD_TIMEOUT_S:.0f} s")
        self._check()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def get(self, experiment: str) -> RegistryEntry | None:
        self._check()
        return self._entries.get(experiment)

    def entries(self) -> list[RegistryEntry]:
        self._check()
        return list(self._entries.values())

    def _check(self) -> None:
        if self._failure is not None:
            raise ConfigurationError(f"the registry cannot be followed: {self._failure}") from self._failure

    def _follow(self) -> None:
        try:
            consumer = reader(self._bootstrap, **{"enable.partition.eof": True})
            for _ in self._read(consumer):
                if self._stop.is_set():
                    break
            consumer.close()
        except (KafkaException, ConfigurationError) as error:
            self._failure = error
            self._loaded.set()

    def _read(self, consumer: Consumer) -> Iterator[None]:
        starts = partitions_from_start(consumer, self.topic)
        waiting = {start.partition for start in starts}
        consumer.assign(starts)
        while True:
            message = consumer.poll(POLL_S)
            error = message.error() if message is not None else None
            if message is not None and error is None:
                self._take(message.key(), message.value())
            elif message is not None and error is not None and error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(message.partition())
                if not waiting:
                    self._loaded.set()
            yield

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        """One record that nobody can read must not end the thread: all that follows would be missed in silence."""
        experiment = (key or b"").decode(errors="replace")
        if value is None:
            self._entries.pop(experiment, None)
        else:
            try:
                entry = registry.decode(value)
            except WireError as error:
                log.error("registry entry cannot be read", experiment=experiment, reason=str(error))
                return
            self._entries[entry.experiment] = entry
        self.version += 1

"""What runs over all ledger partitions, read from the topics: the registry, the journal, the requests of the last day.

Read when somebody asks, in the asker's thread, up to the end as of then: whatever a judge has committed is known.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from stoploss import journal, registry
from stoploss.errors import ConfigurationError, WireError
from stoploss.ledger import Request
from stoploss.limits.programme import BEGINS, Programme
from stoploss.policy.model import Policy
from stoploss.settings import Settings
from stoploss.wire import records
from streams.reading import LOAD_TIMEOUT_S, ends, reader, whole

log = structlog.get_logger("stoploss.registrar")

DAY_MS = 86_400_000
CLOCKS_DIFFER_MS = 3_600_000
"""By how much a judge's clock, which stamps the journal, may be ahead of the broker's."""


class ProgrammeReader:
    """Use it from one thread at a time. Raises ConfigurationError and KafkaException where the topics cannot be read.

    recall_ms  how far the journal is read back at the beginning
    """

    def __init__(self, settings: Settings, recall_ms: int = DAY_MS) -> None:
        self.settings, self.recall_ms = settings, recall_ms
        self._since_ms = time.time_ns() // 1_000_000 - recall_ms
        self._consumer = reader(settings.need_kafka(), **{"enable.partition.eof": True})
        self._places = self._begin()
        self.programme = Programme.of(self._registered())
        self.catch_up()

    @classmethod
    def under(cls, settings: Settings, policy: Policy | None) -> ProgrammeReader:
        """One that knows what was spent in every period that is under way."""
        return cls(settings, cls.recall_of(policy))

    @staticmethod
    def recall_of(policy: Policy | None) -> int:
        longest_s = policy.spec.budgets.longest_s if policy is not None else 0
        return max(DAY_MS, longest_s * 1_000 + CLOCKS_DIFFER_MS)

    def close(self) -> None:
        self._consumer.close()

    def catch_up(self) -> Programme:
        """The programme as of now. Assigning a partition again makes the client tell its end again."""
        waiting = {place.partition for place in self._places.values()}
        self._consumer.assign(list(self._places.values()))
        while waiting:
            message = self._consumer.poll(LOAD_TIMEOUT_S)
            if message is None:
                raise ConfigurationError(f"the journal could not be read to its end within {LOAD_TIMEOUT_S:.0f} s")
            error, partition = message.error(), message.partition() or 0
            if error is None:
                self._hear(message.value())
                self._places[partition] = self._place(partition, (message.offset() or 0) + 1)
            elif error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(partition)
            else:
                raise KafkaException(error)
        self._consumer.assign([])
        return self.programme

    def remember(self, before: int) -> None:
        """Requests that an earlier registrar has let through and no judge has answered yet; before: offset."""
        since_ms = self._since_ms + CLOCKS_DIFFER_MS
        for message in whole(self.settings.need_kafka(), self.settings.topics("experiments"), since_ms=since_ms):
            if (message.offset() or 0) < before:
                for request in _begins(message.value()):
                    self.programme.let_through(request, message.timestamp()[1] * 1_000)

    def _hear(self, value: bytes | None) -> None:
        """What cannot be read must not keep anybody from stopping; whoever is missed counts as running for longer."""
        try:
            self.programme.hear(journal.decode(value))
        except WireError as error:
            log.error("a journal entry cannot be read; limits may be held too strictly", reason=str(error))

    def _begin(self) -> dict[int, TopicPartition]:
        """Where the journal is read from: found before the registry is read, so that nothing falls between the two."""
        last = ends(self._consumer, self.settings.topics("journal"))
        times = [TopicPartition(end.topic, end.partition, self._since_ms) for end in last]
        found = self._consumer.offsets_for_times(times, LOAD_TIMEOUT_S)
        return {end.partition: end for end in last} | {place.partition: place for place in found if place.offset >= 0}

    def _place(self, partition: int, offset: int) -> TopicPartition:
        return TopicPartition(self.settings.topics("journal"), partition, offset)

    def _registered(self) -> Iterable[registry.RegistryEntry]:
        """The last entry of each experiment."""
        last = {
            message.key(): message.value()
            for message in whole(self.settings.need_kafka(), self.settings.topics("registry"))
        }
        return [registry.decode(value) for value in last.values() if value is not None]


def _begins(value: bytes | None) -> Iterable[Request]:
    """The request, if it is one to begin a run; what nobody can read is none."""
    try:
        request = records.decode(value, {"request": Request})
    except WireError:
        return ()
    return (request,) if request.action in BEGINS else ()

"""A producer on the fake broker: idempotent, gapless where asked for, or transactional.

Whatever leaves a process passes `world.effect`: there it may die, be held up, or be fenced by a successor. What a
producer had under way when its process died reaches the broker in part: some of it now, some later, in order.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from tests.simulation.broker import FencedByBroker, Headers
from tests.simulation.now import running

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.world import World

OnDelivery = Callable[[KafkaError | None, Any], None]
GAPLESS = "enable.gapless.guarantee"
IN_FLIGHT = "max.in.flight.requests.per.connection"


@dataclass(slots=True, eq=False)
class Queued:
    """A record that a producer has taken and not sent."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    told: OnDelivery | None
    timestamp_ms: int

    def tell(self, error: KafkaError | None, offset: int = -1) -> None:
        if self.told is not None:
            self.told(error, Message(self.topic, self.partition, offset=offset))


class SimProducer:
    """confluent_kafka.Producer: idempotent, gapless where asked for, or transactional."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.world: World
        self.process: Process
        self.world, self.process = running()
        self.owner: str | None = config.get("transactional.id")
        self.gapless = bool(config.get(GAPLESS, False))
        self.several = self.owner is None and config.get(IN_FLIGHT, 5) > 1
        self.known: set[tuple[str, int]] = set()
        self.queue: list[Queued] = []
        self.fatal: KafkaError | None = None
        self.epoch = 0
        self.decided = False
        self.process.producers.append(self)

    # ---- any producer ------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        value: bytes | str | None = None,
        key: bytes | str | None = None,
        partition: int = -1,
        on_delivery: OnDelivery | None = None,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
        timestamp: int = 0,
    ) -> None:
        self._raise_fatal()
        raw_key, raw_value = _bytes(key), _bytes(value)
        found = self.world.broker.topics.get(topic)
        if partition < 0:
            partition = zlib.crc32(raw_key or b"") % len(found.logs) if found is not None else 0
        self.queue.append(Queued(topic, partition, raw_key, raw_value, list(headers or ()), on_delivery, timestamp))

    def poll(self, timeout: float = 0) -> int:
        """Sometimes what is queued has gone out by now, sometimes not."""
        if self.owner is None and self.queue and self.world.chance.random() < self.world.scenario.sends_early:
            self._send()
        return 0

    def flush(self, timeout: float = -1) -> int:
        self._raise_fatal()
        if self.owner is None:
            self._send()
        else:
            self._send_transaction()
        return len(self.queue)

    def send_behind_the_back(self) -> None:
        """What the client's own thread does: whoever does not flush is told of a failure with a later call."""
        with suppress(KafkaException):
            self._send()

    @property
    def sends(self) -> bool:
        return bool(self.queue) and self.owner is None and self.fatal is None

    def purge(self) -> None:
        """What is queued is given up; the reports come with the next poll, which nobody waits for."""
        self.queue.clear()

    def _send(self) -> None:
        """Partition by partition, in any order of partitions, each in its own order."""
        while self.queue:
            self.world.effect(self.process, "send")
            if not self.queue:
                return
            first = self.world.chance.choice(self.queue)
            record = next(q for q in self.queue if (q.topic, q.partition) == (first.topic, first.partition))
            self.queue.remove(record)
            error = self._refusal(record)
            if error is not None:
                self._refused(record, error)
            elif self._is_overtaken(record):
                record.tell(None)
            else:
                log = self.world.broker.topics[record.topic].logs[record.partition]
                broker = self.world.broker
                offset = broker.append(log, record.key, record.value, record.headers, record.timestamp_ms)
                record.tell(None, offset)
        self.world.effect(self.process, "sent")

    def _is_overtaken(self, record: Queued) -> bool:
        """Of a producer with several requests under way, the first of a partition, where another follows: the broker
        refuses it for a moment, takes the next one, and this one for its repeat."""
        at = record.topic, record.partition
        first, follows = at not in self.known, any((q.topic, q.partition) == at for q in self.queue)
        self.known.add(at)
        return self.several and first and follows

    def _refusal(self, record: Queued) -> KafkaError | None:
        """Why the broker does not take a record."""
        topic = self.world.broker.topics.get(record.topic)
        if topic is None:
            return KafkaError(KafkaError._UNKNOWN_TOPIC, "Local: Unknown topic")
        if len(record.value or b"") > topic.largest_bytes:
            return KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "Broker: Message size too large")
        if self.world.refuses(self.process):
            return KafkaError(KafkaError._MSG_TIMED_OUT, "refused by the simulation")
        return None

    def _refused(self, record: Queued, error: KafkaError) -> None:
        """One record has failed. A gapless producer sends nothing after it; any other goes on."""
        if self.gapless:
            self.fatal = error
            rest, self.queue = self.queue, []
            for one in (record, *rest):
                one.tell(error)
            raise KafkaException(error)
        record.tell(error)

    def abandoned(self) -> None:
        """The process has died: of what was queued a part is still on its way, in order, the rest is lost."""
        logs = {(q.topic, q.partition) for q in self.queue}
        for at in sorted(logs):
            mine = [q for q in self.queue if (q.topic, q.partition) == at]
            sent = mine[: self.world.chance.randint(0, len(mine))]
            if self.owner is None and sent and self.fatal is None:
                self.world.later(partial(self._land, sent))
        self.queue.clear()

    def _land(self, sent: Sequence[Queued]) -> None:
        for record in sent:
            if record.topic in self.world.broker.topics:
                log = self.world.broker.topics[record.topic].logs[record.partition]
                self.world.broker.append(log, record.key, record.value, record.headers, record.timestamp_ms)

    def _raise_fatal(self) -> None:
        if self.fatal is not None:
            raise KafkaException(self.fatal)

    # ---- transactions ------------------------------------------------------------------------------

    def init_transactions(self, timeout: float = -1) -> None:
        assert self.owner is not None
        self.world.effect(self.process, "init_transactions")
        self.epoch = self.world.broker.open_producer(self.owner)
        self.world.effect(self.process, "initialised")

    def begin_transaction(self) -> None:
        self._raise_fatal()
        self.decided = False

    def send_offsets_to_transaction(self, offsets: Sequence[TopicPartition], group: str, timeout: float = -1) -> None:
        """group: what a reader's consumer_group_metadata gives."""
        assert self.owner is not None
        self._raise_fatal()
        self.world.effect(self.process, "send offsets")
        for at in offsets:
            try:
                self.world.broker.commit_in_transaction(
                    self.owner, self.epoch, (group, at.topic, at.partition), at.offset, at.metadata or ""
                )
            except FencedByBroker:
                self._fenced()
        self.world.effect(self.process, "offsets sent")

    def commit_transaction(self, timeout: float = -1) -> None:
        self._raise_fatal()
        self._send_transaction()
        self.world.effect(self.process, "commit")
        outcome = self.world.commit_outcome(self.process)
        if outcome != "done" and self.decided:
            outcome = "lost answer"  # what the broker has committed it does not refuse later
        if outcome == "lost request":
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer to the commit", retriable=True))
        if outcome == "refused":
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "commit refused", txn_requires_abort=True))
        self._end(commit=True)
        self.decided = True
        if outcome == "lost answer":
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer to the commit", retriable=True))
        self.world.effect(self.process, "committed")

    def _send_transaction(self) -> None:
        assert self.owner is not None
        while self.queue:
            self.world.effect(self.process, "send in transaction")
            record = self.queue.pop(0)
            error = self._refusal(record)
            if error is not None:
                self.queue.clear()
                record.tell(error)
                raise KafkaException(KafkaError(error.code(), error.str(), txn_requires_abort=True))
            log = self.world.broker.topics[record.topic].logs[record.partition]
            try:
                offset = self.world.broker.append_in_transaction(
                    self.owner, self.epoch, log, record.key, record.value, record.headers, record.timestamp_ms
                )
            except FencedByBroker:
                self._fenced()
            record.tell(None, offset)

    def _end(self, *, commit: bool) -> None:
        assert self.owner is not None
        try:
            self.world.broker.end_transaction(self.owner, self.epoch, commit=commit)
        except FencedByBroker:
            self._fenced()

    def _fenced(self) -> None:
        self.fatal = KafkaError(KafkaError._FENCED, "fenced by a newer producer", fatal=True)
        raise KafkaException(self.fatal)

    def abort_transaction(self, timeout: float = -1) -> None:
        self._raise_fatal()
        self.queue.clear()
        self.world.effect(self.process, "abort")
        self._end(commit=False)


def _bytes(text: bytes | str | None) -> bytes | None:
    return text.encode() if isinstance(text, str) else text

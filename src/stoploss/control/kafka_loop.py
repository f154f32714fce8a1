"""A controller on Kafka: reads all of the control topic, catches up, obeys what follows, publishes its acks.

Every instance reads every partition from the beginning and commits nothing: what it has applied stands in its
position file, and a state is level-triggered, so reading a command twice does nothing twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from stoploss import registry
from stoploss.commands import Ack, AckStatus
from stoploss.control.controller import Controller
from stoploss.control.messages import CommandMessage, Headers
from stoploss.control.trouble import TroubleLog
from stoploss.errors import ConfigurationError, DeliveryFailed, WireError
from stoploss.kafka import IN_ORDER, connection
from stoploss.wire import records

log = structlog.get_logger(__name__)

POLL_S = 0.1
ALIVE_EVERY_S = 30.0
METADATA_S = 5.0
FLUSH_S = 10.0


@dataclass(frozen=True, slots=True)
class ControlTopics:
    """Where commands come from and acks go to.

    acks    None: a dry run, which is no instance that anybody waits for
    client  further librdkafka settings, such as those of SASL_SSL
    """

    bootstrap: str
    control: str = "stoploss.control"
    acks: str | None = "stoploss.acks"
    registry: str = "stoploss.registry"
    client: Mapping[str, Any] = field(default_factory=dict)


def _connection(topics: ControlTopics, trouble: TroubleLog) -> dict[str, Any]:
    return {
        **connection(topics.bootstrap),
        "reconnect.backoff.max.ms": 1_000,
        "log_level": 2,  # its lines on stderr say what error_cb says, twenty times a second
        "error_cb": trouble,
        **topics.client,
    }


def consumer_settings(controller: Controller) -> dict[str, Any]:
    return {
        "group.id": f"stoploss-controller-{controller.name}-{controller.instance}",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,
        "fetch.queue.backoff.ms": 1,
        "fetch.error.backoff.ms": 50,
    }


def run_controller(
    controller: Controller,
    topics: ControlTopics,
    stop: threading.Event,
    *,
    caught_up: threading.Event | None = None,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Obeys until `stop` is set.

    caught_up  is set once every experiment is in its latest state
    beat       is called from then on, each time that the loop comes round

    Raises ConfigurationError where a topic is missing or not to be read, DeliveryFailed where acks can no longer be
    published: end the process and start it again.
    """
    trouble = TroubleLog()
    consumer = Consumer({**consumer_settings(controller), **_connection(topics, trouble)})
    publisher: Publisher = Silent() if topics.acks is None else AckPublisher(topics, topics.acks, trouble)
    presence = Presence(controller, publisher)

    def come_round() -> None:
        presence.tell()
        beat()

    try:
        partitions = _partitions(consumer, topics, stop, trouble)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in partitions])
        backlog = read_backlog(_messages(consumer, stop, trouble), set(partitions), topics)
        if stop.is_set():
            return  # half a backlog may end in a raise that a later stop has taken back
        publisher.publish(controller.catch_up(backlog.commands, backlog.in_force))
        consumer.incremental_unassign([TopicPartition(*at) for at in partitions if at[0] == topics.registry])
        if caught_up is not None:
            caught_up.set()
        for message in _messages(consumer, stop, trouble, idle=come_round):
            if message.error() is None and message.topic() == topics.control:
                publisher.publish(controller.handle(_command_message(message)))
        presence.end()
    finally:
        publisher.close()
        consumer.close()


@dataclass(slots=True)
class Backlog:
    """What stood on the topics when the controller started.

    in_force  by experiment: id of the last command, where a controller has applied it. What nobody has is no state that
              is to be restored: an expired raise among it stays refused
    """

    commands: list[CommandMessage] = field(default_factory=list)
    in_force: dict[str, str] = field(default_factory=dict)


def read_backlog(messages: Iterator[Message], partitions: set[tuple[str, int]], topics: ControlTopics) -> Backlog:
    """Everything up to the end of each partition, as far as it is committed."""
    backlog = Backlog()
    ahead = set(partitions)
    for message in messages:
        if message.error() is not None:
            ahead.discard((_topic(message), message.partition() or 0))
        elif message.topic() == topics.control:
            backlog.commands.append(_command_message(message))
        else:
            _note_state(backlog.in_force, message)
        if not ahead:
            break
    return backlog


def _note_state(in_force: dict[str, str], message: Message) -> None:
    experiment = (message.key() or b"").decode("utf-8", "replace")
    in_force.pop(experiment, None)
    if message.value() is None:
        return
    try:
        entry = registry.decode(message.value())
    except WireError as error:
        log.warning("registry_entry_unreadable", experiment=experiment, reason=str(error))
        return
    if entry.command_id is not None and entry.served_at is not None:
        in_force[entry.experiment] = entry.command_id


def _messages(
    consumer: Consumer, stop: threading.Event, trouble: TroubleLog, idle: Callable[[], None] = lambda: None
) -> Iterator[Message]:
    """Messages and ends of partitions until stopped; raises ConfigurationError over what waiting will not mend."""
    while not stop.is_set():
        idle()
        message = consumer.poll(POLL_S)
        if message is None:
            continue
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            yield message
        elif error.code() in _FINAL:
            raise ConfigurationError(f"cannot read {message.topic()}: {error.str()}; create it with `stoploss topics`")
        else:
            trouble(error)


_FINAL = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)


def _partitions(
    consumer: Consumer, topics: ControlTopics, stop: threading.Event, trouble: TroubleLog
) -> list[tuple[str, int]]:
    """All partitions of control and registry; waits while no broker answers."""
    found: list[tuple[str, int]] = []
    for topic in (topics.control, topics.registry):
        while not stop.is_set():
            try:
                metadata = consumer.list_topics(topic, timeout=METADATA_S).topics[topic]
            except KafkaException as error:
                trouble(error.args[0])
                stop.wait(POLL_S)
                continue
            if metadata.error is not None:
                raise ConfigurationError(
                    f"cannot read {topic}: {metadata.error.str()}; create it with `stoploss topics`"
                )
            found += [(topic, number) for number in metadata.partitions]
            break
    return found


def _command_message(message: Message) -> CommandMessage:
    headers = cast("Headers", message.headers() or ())
    return CommandMessage(_topic(message), message.key() or b"", message.value() or b"", headers)


def _topic(message: Message) -> str:
    return message.topic() or ""


class Publisher(Protocol):
    def publish(self, acks: list[Ack]) -> None: ...
    def serve(self) -> None: ...
    def close(self) -> None: ...


class Silent:
    """Tells nobody anything."""

    def publish(self, acks: list[Ack]) -> None:
        """An ack of a dry run would say that something was done."""

    def serve(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


class Presence:
    """Says that this instance lives, now and then, and once that it goes: whoever is killed says nothing."""

    def __init__(self, controller: Controller, publisher: Publisher) -> None:
        self._controller, self._publisher = controller, publisher
        self._due_s = 0.0

    def tell(self) -> None:
        self._publisher.serve()
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + ALIVE_EVERY_S
            self._publisher.publish([self._controller.presence(AckStatus.ALIVE)])

    def end(self) -> None:
        self._publisher.publish([self._controller.presence(AckStatus.LEFT)])


class AckPublisher:
    """Publishes acks without waiting: one that is lost is asked for again by the courier's re-send."""

    def __init__(self, topics: ControlTopics, topic: str, trouble: TroubleLog) -> None:
        self._topic = topic
        self._producer = Producer({**IN_ORDER, "linger.ms": 0, **_connection(topics, trouble)})
        self._fatal: KafkaError | None = None

    def publish(self, acks: list[Ack]) -> None:
        for ack in acks:
            # An empty key would scatter an instance's signs of life over the partitions, out of order.
            key = ack.experiment or f"{ack.controller}/{ack.instance}"
            self._produce(key.encode(), records.encode("ack", ack))
        self.serve()

    def _produce(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(POLL_S)
            except KafkaException as error:
                raise DeliveryFailed(f"acks cannot be published to {self._topic}: {error}") from error
            else:
                return

    def serve(self) -> None:
        """Runs delivery reports; raises DeliveryFailed once the producer is beyond repair."""
        self._producer.poll(0)
        if self._fatal is not None:
            raise DeliveryFailed(f"acks can no longer be published to {self._topic}: {self._fatal.str()}; restart")

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            return
        log.warning("ack_not_delivered", topic=self._topic, reason=error.str())
        if error.fatal():
            self._fatal = error

    def close(self) -> None:
        if left := self._producer.flush(FLUSH_S):
            log.warning("acks_left_unsent", topic=self._topic, count=left)

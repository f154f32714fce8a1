"""Damaged acks and commands, read as the courier reads them and as a controller reads them when it starts.

The courier is the real one on the real broker. What it appends for hostile acks is a fact that the judge can read, and
no good ack among them is lost or doubled.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from confluent_kafka import Message
from faust.types import TP

from stoploss import ledger, registry
from stoploss.commands import Ack, AckStatus
from stoploss.control.kafka_loop import ControlTopics, read_backlog
from stoploss.control.messages import write_command
from stoploss.ledger import AckReceived
from stoploss.signing import SIGNATURE_HEADER, Verifier
from stoploss.wire import records
from streams.batches import Batch
from streams.courier import LARGEST_ACK_BYTES, Courier
from tests.control.orders import NOW, order
from tests.fuzz.commands import _controller
from tests.fuzz.mutations import LONGS, STRINGS, damaged, other_framing
from tests.installation import Installation, Kafka, Tail, appending, installed
from tests.test_every_schema import samples
from tests.timelines import SPEC

HEADER = 10
LARGEST_REASON = 1_040_000
"""What a client in Java may send, of which one in C takes less than the whole."""
CONTROLLED = SPEC.replace("control: current}", "control: current, controllers: [flagd]}")
COMMAND = dataclasses.replace(order(), controllers=("flagd",))
GOOD = Ack(
    COMMAND.command_id, COMMAND.experiment, COMMAND.run, COMMAND.sequence, "flagd", "", AckStatus.APPLIED, "", NOW
)


class Read:
    """A courier that is asked nothing but to read, and the ledger that it writes."""

    def __init__(self, installation: Installation) -> None:
        self.installation, self.settings = installation, installation.settings
        self.signer, settings = installation.keys.signer, installation.settings
        self.control, self.acks = settings.topics("control"), settings.topics("acks")
        self.courier = Courier(settings, Verifier.load(settings.keys / "monitor.pub"))
        self.ledger = Tail(settings, "ledger")
        self.offsets = itertools.count()
        self.command = dataclasses.replace(COMMAND, topic=self.control)
        self._take("control", [self.commanded(write_command(self.command, self.signer, "test"))])

    def commanded(self, message: Any, value: bytes | None = None, headers: Any = None) -> Message:
        held, given = message.value if value is None else value, message.headers if headers is None else headers
        return Message(self.control, 0, next(self.offsets), message.key, held, list(given), timestamp=(1, NOW // 1_000))

    def answered(self, value: bytes | None) -> Message:
        return Message(self.acks, 0, next(self.offsets), b"checkout", value, timestamp=(1, NOW // 1_000))

    def _take(self, topic: str, messages: list[Message]) -> None:
        batch = Batch(TP(self.settings.topics(topic), 0), messages, 1)
        (self.courier._take_commands if topic == "control" else self.courier._append_acks)(batch)

    def take_acks(self, messages: list[Message]) -> None:
        self._take("acks", messages)

    def take_commands(self, messages: list[Message]) -> None:
        self._take("control", messages)

    def told(self, of: str, wanted: int) -> Counter[str]:
        """How often the ledger names each instance whose name begins so, once it names as many as are wanted."""

        def found() -> list[str]:
            facts = [ledger.decode(value) for value in self.ledger.values()]
            return [fact.instance for fact in facts if isinstance(fact, AckReceived) and fact.instance.startswith(of)]

        self.installation.wait(lambda: len(found()) >= wanted)
        return Counter(found())

    def close(self) -> None:
        self.courier._registry.stop()
        self.courier._alerting.close()
        self.ledger.close()


@contextmanager
def reading(kafka: Kafka, home: Path) -> Iterator[Read]:
    """An installation in which one experiment is registered, and its command is waited for."""
    with installed(kafka, home) as installation:
        entry = samples("registry_entry")[0]
        known = dataclasses.replace(entry, experiment=COMMAND.experiment, partition=0, spec=CONTROLLED)
        appender = appending(installation.settings)
        appender.append(installation.settings.topics("registry"), registry.encode(known), key=b"checkout", partition=0)
        appender.flush()
        found = Read(installation)
        try:
            yield found
        finally:
            found.close()


def check(seed: int, read: Read) -> int:
    """Raises whatever the courier or a controller raised, and AssertionError where a good ack is not told once."""
    rng = Random(seed)
    names = [f"good-{seed}-{number}" for number in range(10)]
    good = [records.encode("ack", dataclasses.replace(GOOD, instance=name)) for name in names]
    hostile = [_mutated(rng) for _ in range(90)]
    mixed = [*good, *hostile]
    rng.shuffle(mixed)
    read.take_acks([read.answered(value) for value in mixed])
    read.courier._tell_presence()
    assert read.told(f"good-{seed}-", len(names)) == Counter(names), seed
    commands = [_commanded(rng, read) for _ in range(10)]
    read.take_commands(commands)
    return len(hostile) + len(commands) + _check_controller(rng, read, commands)


def _mutated(rng: Random) -> bytes | None:
    chosen = rng.random()
    if chosen < 0.1:
        return rng.choice((None, b"", b"{}", rng.randbytes(30)))
    ack = dataclasses.replace(GOOD, **_odd(rng))
    if chosen < 0.5:
        return records.encode("ack", ack)
    value = records.encode("ack", ack)
    return other_framing(rng, value) if chosen < 0.55 else damaged(rng, value, rng.choice((0, HEADER, HEADER)))


def _odd(rng: Random) -> dict[str, Any]:
    large = "x" * rng.choice((LARGEST_ACK_BYTES, LARGEST_REASON))
    texts = (*STRINGS, *([large] if rng.random() < 0.1 else []))
    return rng.choice(
        (
            {"command_id": rng.choice(texts)},
            {"experiment": rng.choice(texts)},
            {"controller": rng.choice(texts)},
            {"instance": rng.choice(texts)},
            {"reason": rng.choice(texts)},
            {"run": rng.choice((-1, 0, 2**31 - 1)), "sequence": rng.choice(LONGS)},
            {"at": rng.choice(LONGS)},
            {"status": rng.choice(list(AckStatus)), "instance": rng.choice(texts), "experiment": ""},
        )
    )


def _commanded(rng: Random, read: Read) -> Message:
    """A command that nobody signed as it stands, or that somebody signed though nobody can read it."""
    message = write_command(read.command, read.signer, "test")
    value = damaged(rng, message.value, rng.choice((0, HEADER)))
    signed = [(SIGNATURE_HEADER, read.signer.sign(value).encode())]
    headers = rng.choice((signed, signed, [], [(SIGNATURE_HEADER, b"\xff")], list(message.headers)))
    keyed = dataclasses.replace(message, key=rng.choice((message.key, message.key, b"\xff", b"", b"x" * 900_000)))
    return read.commanded(keyed, value, headers)


def _check_controller(rng: Random, read: Read, commands: list[Message]) -> int:
    """Starts on such a control topic and such a registry, and its answers are small enough for any topic."""
    topics = ControlTopics("nowhere", read.control, read.acks, read.settings.topics("registry"))
    entries = [registry.encode(entry) for entry in samples("registry_entry")]
    states = [
        Message(topics.registry, 0, place, rng.choice((b"checkout", b"\xff", None)), rng.choice((None, value)))
        for place, value in enumerate(damaged(rng, rng.choice(entries), rng.choice((0, HEADER))) for _ in range(10))
    ]
    backlog = read_backlog(iter([*commands, *states]), {(topics.control, 0)}, topics)
    controller = _controller(read.settings.keys)
    answers = controller.catch_up(backlog.commands, backlog.in_force)
    answers += [ack for command in backlog.commands for ack in controller.handle(command)]
    assert max((len(records.encode("ack", ack)) for ack in answers), default=0) <= LARGEST_ACK_BYTES
    return len(states)

"""An installation with a courier on the real broker; a test plays the controllers and on-call."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Message

from stoploss import ledger
from stoploss.commands import Ack, AckStatus, Command
from stoploss.control.keys import create_break_glass_keys
from stoploss.control.messages import CommandMessage
from stoploss.journal import CommandAcked, Conclusion
from stoploss.ledger import AckOverdue, AckReceived
from stoploss.wire import records
from tests.control.receiver import Receiver, receiving
from tests.installation import (
    Installation,
    Kafka,
    Role,
    Tail,
    appending,
    installed,
)
from tests.timelines import SPEC

DEADLINE_MS = 500


@dataclass
class World:
    """The installation, what on-call was told, and the topics as they grow."""

    installation: Installation
    receiver: Receiver
    judge: Role
    courier: Role
    control: Tail
    ledger: Tail
    names: Iterator[int] = field(default_factory=itertools.count)

    def registered(self, controller: str = "flagd") -> str:
        """A new experiment that this controller must obey."""
        name = f"checkout-{next(self.names)}"
        spec = SPEC.replace("name: checkout", f"name: {name}").replace(
            "flag: checkout,", f"flag: {name}, controllers: [{controller}],"
        )
        self.installation.ask("register", name, spec=spec)
        return name

    def started(self) -> str:
        """One whose first command nobody has applied yet."""
        name = self.registered()
        self.installation.ask("start", name)
        self.wait(lambda: self.sent(name))
        return name

    def running(self) -> str:
        """One whose first command is applied."""
        name = self.started()
        self.ack(self.last(name))
        self.wait(lambda: self.acked(name))
        return name

    def wait(self, until: Callable[[], object]) -> None:
        self.installation.wait(until)

    def sent(self, experiment: str) -> list[Message]:
        return [message for message in self.control.seen() if message.key() == experiment.encode()]

    def last(self, experiment: str) -> Command:
        return records.decode(self.sent(experiment)[-1].value(), {"command": Command})

    def ack(
        self,
        command: Command,
        controller: str = "flagd",
        status: AckStatus = AckStatus.APPLIED,
        instance: str = "one",
        reason: str = "",
    ) -> None:
        at, sequence = time.time_ns() // 1_000, command.sequence
        ack = Ack(
            command.command_id, command.experiment, command.run, sequence, controller, instance, status, reason, at
        )
        self.put("acks", command.experiment, records.encode("ack", ack))

    def present(self, controller: str, instance: str, status: AckStatus = AckStatus.ALIVE) -> None:
        ack = Ack("", "", 0, 0, controller, instance, status, "", time.time_ns() // 1_000)
        self.put("acks", "", records.encode("ack", ack))

    def put_control(self, partition: int, message: CommandMessage) -> None:
        appender = appending(self.installation.settings)
        headers = [(name, value or b"") for name, value in message.headers]
        appender.append(message.topic, message.value, key=message.key, partition=partition, headers=headers)
        appender.flush()

    def put(self, topic: str, key: str, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        settings = self.installation.settings
        appender = appending(settings)
        appender.append(settings.topics(topic), value, key=key.encode(), partition=0, headers=headers)
        appender.flush()

    def overdue(self, experiment: str) -> list[AckOverdue]:
        facts = map(ledger.decode, self.ledger.values())
        return [fact for fact in facts if isinstance(fact, AckOverdue) and fact.experiment == experiment]

    def acked(self, experiment: str) -> list[AckReceived]:
        facts = map(ledger.decode, self.ledger.values())
        return [fact for fact in facts if isinstance(fact, AckReceived) and fact.experiment == experiment]

    def told(self, experiment: str) -> list[tuple[str, str]]:
        """(alert, status) in the order in which on-call was told."""
        return [
            (alert["labels"]["alertname"], alert["status"])
            for body in list(self.receiver.bodies)
            for alert in body["alerts"]
            if alert["labels"]["experiment"] == experiment
        ]


@contextmanager
def couriered(kafka: Kafka, home: Path) -> Iterator[World]:
    with (
        receiving() as receiver,
        installed(kafka, home, webhook_url=receiver.url, ack_deadline_ms=DEADLINE_MS) as installation,
    ):
        create_break_glass_keys(installation.settings.keys)
        judge = installation.worker("registrar", "judge", "intake")
        courier = installation.worker("courier")
        tails = Tail(installation.settings, "control"), Tail(installation.settings, "ledger")
        yield World(installation, receiver, judge, courier, *tails)
        for tail in tails:
            tail.close()


def is_overdue(conclusion: Conclusion) -> bool:
    return isinstance(conclusion, CommandAcked) and conclusion.status == "overdue"

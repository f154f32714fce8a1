from __future__ import annotations

import dataclasses
import time

from confluent_kafka import Producer

from stoploss.commands import Action, Command
from stoploss.control.keys import create_keys
from stoploss.control.messages import CommandMessage, read_command, write_command
from stoploss.signing import Signer
from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import CALM, HARMED, Stage
from tests.installation import headers_of, messages, values

REFUSED = 4


def standing(stage: Stage) -> tuple[Command, CommandMessage, int]:
    """The raise that started the harmed experiment, as it was sent, and its partition."""
    topic = stage.settings.topics("control")
    for message in messages(stage.settings, "control"):
        command = read_command(message.value(), headers_of(message), topic, stage.installation.verifier)
        if command.experiment == HARMED and command.action == Action.SET_EXPOSURE:
            sent = CommandMessage(topic, message.key() or b"", message.value() or b"", headers_of(message))
            return command, sent, message.partition() or 0
    raise LookupError("the experiment was never started")


def hostile(stage: Stage, genuine: Command) -> list[CommandMessage]:
    """A stop of a stranger, a stop without a signature, one whose content was changed, one made for another topic."""
    home = stage.settings.home
    monitor, name = Signer.load(stage.settings.keys / "monitor.key"), stage.settings.installation
    stranger = Signer.load(create_keys(home / "stranger").private)
    stop = dataclasses.replace(
        genuine, command_id="0" * 64, action=Action.STOP, sequence=9, exposure=0.0, expires_at=None
    )
    forged, right = write_command(stop, stranger, name), write_command(genuine, monitor, name)
    elsewhere = write_command(dataclasses.replace(stop, topic="other.control"), monitor, name)
    topic = stage.settings.topics("control")
    return [
        forged,
        dataclasses.replace(forged, headers=[]),
        dataclasses.replace(forged, headers=right.headers),
        dataclasses.replace(elsewhere, topic=topic),
    ]


def put(stage: Stage, partition: int, sent: list[CommandMessage]) -> None:
    producer = Producer({"bootstrap.servers": stage.broker.bootstrap, "acks": "all"})
    for one in sent:
        producer.produce(one.topic, one.value, one.key, partition=partition, headers=list(one.headers))
    producer.flush()


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        genuine, sent, partition = standing(stage)
        put(stage, partition, hostile(stage, genuine))
        stage.wait(lambda: sum(b"unverified-" in value for value in values(stage.settings, "acks")) >= REFUSED)
        stage.measured.demand(stage.flag(HARMED).get("exposure") == 0.5, "a forged command was obeyed")
        stage.measured.demand(stage.flag(CALM).get("exposure") == 0.5, "a forged command was obeyed")
        stage.stop_by_leak()
        since_s = time.monotonic()
        put(stage, partition, [sent])  # a raise of yesterday, to the byte
        stage.recovered(since_s)
        stage.measured.times = REFUSED + 1
        stage.measured.demand(stage.flag(HARMED).get("exposure") == 0, "a replayed raise was obeyed after a stop")
        return stage.verdict()


FAULT = Fault(
    24,
    "forged-commands",
    "stops of a stranger, unsigned, with another's signature and of another topic; after the stop, the raise again",
    "each is refused and recorded; the flag stays as the monitor wants it",
    run,
)

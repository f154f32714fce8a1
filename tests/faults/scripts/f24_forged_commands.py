from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import Counter

from confluent_kafka import Producer

from stoploss import journal
from stoploss.commands import Ack, AckStatus, Action, Command
from stoploss.control.controller import UNVERIFIED
from stoploss.control.keys import create_keys
from stoploss.control.messages import CommandMessage, read_command, write_command
from stoploss.journal import CommandAcked
from stoploss.signing import Signer
from stoploss.wire import records
from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import CALM, HARMED, Stage
from tests.installation import headers_of, messages, values

EXPIRED_FOR_S = 60


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


def expired(stage: Stage, genuine: Command) -> tuple[Command, CommandMessage]:
    """To all of the traffic, next in the order, with the monitor's own signature; but it was due a minute ago."""
    ended_at = time.time_ns() // 1_000 - EXPIRED_FOR_S * 1_000_000
    late = dataclasses.replace(
        genuine, command_id="e" * 64, sequence=genuine.sequence + 1, exposure=1.0, expires_at=ended_at
    )
    return late, write_command(late, Signer.load(stage.settings.keys / "monitor.key"), stage.settings.installation)


def put(stage: Stage, partition: int, sent: list[CommandMessage]) -> None:
    producer = Producer({"bootstrap.servers": stage.broker.bootstrap, "acks": "all"})
    for one in sent:
        producer.produce(one.topic, one.value, one.key, partition=partition, headers=list(one.headers))
    producer.flush()


def refused(stage: Stage) -> Counter[str]:
    """How often controllers said of a command that they do not obey it, by its id; a forgery's is of its bytes."""
    acks = (records.decode(value, {"ack": Ack}) for value in values(stage.settings, "acks"))
    return Counter(ack.command_id for ack in acks if ack.status == AckStatus.REJECTED)


def recorded(stage: Stage) -> set[str]:
    """Ids of the commands whose refusal the journal tells."""
    said = [journal.decode(value).conclusion for value in values(stage.settings, "journal")]
    return {one.command_id for one in said if isinstance(one, CommandAcked) and one.status == AckStatus.REJECTED}


def refused_id(message: CommandMessage) -> str:
    return UNVERIFIED + hashlib.sha256(message.value).hexdigest()


def demand_exposure(stage: Stage, experiment: str, share: float, otherwise: str) -> None:
    stage.measured.demand(stage.flag(experiment).get("exposure") == share, otherwise)


def run(ground: Ground) -> Measured:
    """What a controller refuses it says only behind all that it has read before: then the flag tells what it obeyed."""
    with ground.stage() as stage:
        genuine, sent, partition = standing(stage)
        late, late_sent = expired(stage, genuine)
        attacks = [*hostile(stage, genuine), late_sent]
        wanted = Counter([*map(refused_id, attacks[:-1]), late.command_id])
        put(stage, partition, attacks)
        stage.wait(lambda: refused(stage) >= wanted, what=f"the controller refuses {dict(wanted)}")
        for experiment in (HARMED, CALM):
            demand_exposure(stage, experiment, 0.5, "a forged command or an expired raise was obeyed")
        stage.stop_by_leak()
        since_s = time.monotonic()
        put(stage, partition, [sent])  # a raise of yesterday, to the byte
        wanted += Counter([genuine.command_id])
        stage.wait(lambda: refused(stage) >= wanted, what="the controller refuses the replayed raise")
        demand_exposure(stage, HARMED, 0, "a replayed raise was obeyed after a stop")
        stage.wait(lambda: recorded(stage) >= set(wanted), what=f"the journal tells the refusals of {set(wanted)}")
        stage.recovered(since_s)
        stage.measured.times = wanted.total()
        return stage.verdict()


FAULT = Fault(
    24,
    "forged-commands",
    "stops of a stranger, unsigned, with another's signature and of another topic; a raise that has expired; after the "
    "stop, the first raise again",
    "the controller refuses each, and the journal tells it; the flag stays as the monitor wants it",
    run,
)

"""break-glass: a person stops an experiment past the monitor, with a key of people and no sequence.

It asks nobody: controllers obey it over whatever the monitor has ordered, until a person resumes. The courier writes it
into the ledger, so that the judge says the same once it is back.
"""

from __future__ import annotations

import getpass
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer

from stoploss.cli import addresses
from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.commands import BREAK_GLASS_SEQUENCE, Ack, AckStatus, Action, Command, derived_id
from stoploss.control.keys import BREAK_GLASS_PRIVATE_NAME
from stoploss.control.messages import CommandMessage, write_command
from stoploss.errors import RequestRefused, WireError
from stoploss.governance.breaking import says_why, told
from stoploss.lifecycle import WAITING
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.signing import Signer
from stoploss.spec.file import parse_experiment
from stoploss.wire import records
from streams.appender import Appender
from streams.reading import ends, reader
from streams.registry_view import RegistryView

ANSWERS_S = 15.0
ASKED_AFTERWARDS = "nobody has said why yet; say it, for good: stoploss note {experiment} --reason '…'\n"


@dataclass(frozen=True, slots=True)
class Broken:
    """What was sent, and what came back.

    applied     instances that say that they have applied it, as controller/instance
    refused     those that have not, with their reason
    unanswered  required controllers of which nobody has answered in time
    explained   a reason came with it; else people owe one, which `stoploss status` shows until somebody has noted it
    """

    experiment: str
    command_id: str
    key_id: str
    variant: str
    applied: tuple[str, ...]
    refused: tuple[str, ...]
    unanswered: tuple[str, ...]
    explained: bool

    @property
    def holds(self) -> bool:
        return not self.refused and not self.unanswered


def break_glass(experiment: str, reason: str, key: Path | None, as_json: bool) -> bool:
    """Sends the command and waits for answers; True where every required controller has applied it."""
    settings = addresses.connected()
    signer = Signer.load(key or settings.keys / BREAK_GLASS_PRIVATE_NAME)
    entry = _entry_of(settings, experiment)
    said = told(getpass.getuser(), reason)
    command = command_of(entry, said, settings.topics("control"), str(uuid.uuid4()), time.time_ns() // 1_000)
    message = write_command(command, signer, settings.installation)
    with working("waiting for controllers"):
        broken = _send(settings, command, message, entry, signer.key_id)
    if as_json:
        print_json(broken)
    else:
        _print(broken)
        print("" if broken.explained else ASKED_AFTERWARDS.format(experiment=experiment), end="")
    return broken.holds


def _entry_of(settings: Settings, experiment: str) -> RegistryEntry:
    view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
    entry, known = view.get(experiment), sorted(entry.experiment for entry in view.entries())
    view.stop()
    if entry is None:
        raise RequestRefused(f"experiment {experiment!r} is not registered; registered: {', '.join(known) or 'none'}")
    if entry.lifecycle in WAITING:
        raise RequestRefused(f"experiment {experiment!r} was never started: nobody gets its treatment")
    return entry


def command_of(entry: RegistryEntry, reason: str, topic: str, nonce: str, at: int) -> Command:
    """The stop of a registered experiment that gives everybody its control variant.

    nonce  makes the id; at: microseconds since 1970-01-01 UTC
    """
    spec = parse_experiment(entry.spec)
    return Command(
        command_id=derived_id(entry.experiment, entry.run, "break_glass", nonce),
        experiment=entry.experiment,
        run=entry.run,
        epoch=entry.epoch,
        sequence=BREAK_GLASS_SEQUENCE,
        action=Action.STOP,
        flag=spec.spec.assignment.flag,
        release_variant=spec.control.name,
        control_variant=spec.control.name,
        treatment_variant=spec.treatment.name,
        exposure=0.0,
        stopped_segments=entry.stopped_segments,
        reason=reason,
        evidence=None,
        decided_at=at,
        expires_at=None,
        dry_run=False,
        topic=topic,
        controllers=spec.spec.assignment.controllers,
        needs_consent=spec.needs_consent,
    )


def _send(settings: Settings, command: Command, message: CommandMessage, entry: RegistryEntry, key_id: str) -> Broken:
    consumer = reader(settings.need_kafka())
    try:
        consumer.assign(ends(consumer, settings.topics("acks")))
        appender = Appender(settings.need_kafka(), linger_ms=0)
        headers = [(name, value or b"") for name, value in message.headers]
        appender.append(message.topic, message.value, key=message.key, partition=entry.partition, headers=headers)
        appender.flush()
        applied, refused = _answers(consumer, command)
    finally:
        consumer.close()
    silent = set(command.controllers) - {ack.controller for ack in (*applied, *refused)}
    return Broken(
        experiment=command.experiment,
        command_id=command.command_id,
        key_id=key_id,
        variant=command.release_variant,
        applied=tuple(f"{ack.controller}/{ack.instance}" for ack in applied),
        refused=tuple(f"{ack.controller}/{ack.instance}: {ack.reason}" for ack in refused),
        unanswered=tuple(sorted(silent)),
        explained=says_why(command.reason),
    )


def _answers(consumer: Consumer, command: Command) -> tuple[list[Ack], list[Ack]]:
    """Who applied it and who refused, until each required controller has answered or the time is up."""
    applied: list[Ack] = []
    refused: list[Ack] = []
    awaited = set(command.controllers)
    for ack in _acks_of(consumer, command.command_id) if awaited else ():
        if ack.status == AckStatus.APPLIED:
            applied.append(ack)
        elif ack.status == AckStatus.REJECTED:
            refused.append(ack)
        else:
            continue
        awaited.discard(ack.controller)
        if not awaited:
            break
    return applied, refused


def _acks_of(consumer: Consumer, command_id: str) -> Iterator[Ack]:
    deadline_s = time.monotonic() + ANSWERS_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        message = consumer.poll(left_s)
        if message is None or message.error() is not None:
            continue
        try:
            ack = records.decode(message.value(), {"ack": Ack})
        except WireError:
            continue  # the courier says so; here only answers count
        if ack.command_id == command_id:
            yield ack


def _print(broken: Broken) -> None:
    print(
        f"{broken.experiment}: everybody is to get {broken.variant!r} (key {broken.key_id}); it holds until "
        f"`stoploss resume {broken.experiment}`"
    )
    for who in broken.applied:
        print(f"  {who} has applied it")
    for who in broken.refused:
        print(f"  NOT APPLIED by {who}")
    for who in broken.unanswered:
        print(f"  NO ANSWER of {who} within {ANSWERS_S:.0f} s: set the flag by hand, and see whether it runs")
    if not (broken.applied or broken.refused or broken.unanswered):
        print("  no controller has to apply it: whoever reads the commands has it now")

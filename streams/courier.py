"""Courier: appends acks to the ledger as facts, sends commands again that are not applied, tells on-call.

It may look at the clock: the judge only sees its facts. Deadlines run from the moment it read a command at the end of
the log, so a judge that catches up after an outage raises no false alarm.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import cast

import structlog
from confluent_kafka import Message
from faust.types import TP

from stoploss import ledger
from stoploss.commands import Ack, AckStatus, Command
from stoploss.control.controller import UNVERIFIED
from stoploss.control.messages import CommandMessage, Headers, read_command, signing_key
from stoploss.errors import CommandRefused, InvalidExperiment, MalformedRecord, WireError
from stoploss.intake import dead_letters
from stoploss.intake.dead_letters import Reject
from stoploss.ledger import AckOverdue, AckReceived, Request
from stoploss.lifecycle import BREAK_GLASS
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.signing import Verifier
from stoploss.spec.file import parsed
from stoploss.wire import records
from stoploss.wire.refusals import Code
from streams.alerting import REPEAT_EVERY_S, Alerting, receivers_of
from streams.app import App, build_app, group_of
from streams.appender import Appender
from streams.batches import Batch, Record
from streams.measuring import DEAD_LETTERS, UNACKED
from streams.outstanding import Outstanding
from streams.presence import Presence
from streams.reading import whole
from streams.registry_view import RegistryView
from streams.telling import Telling
from streams.transport import consumer_if_any, consumer_of

log = structlog.get_logger("stoploss.courier")

ROLE = "courier"
LARGEST_ACK_BYTES = 64 * 1024
"""A larger one might not fit into the ledger, or its journal entry into a transaction: it would end each courier, or
each judge, that comes to it."""
LOOK_EVERY_S = 0.5
LIVES_EVERY = 1_000
UNORDERED_MS = 600_000
"""Commands are stamped by whoever issues them, and clocks differ."""
PRESENCE = (AckStatus.ALIVE, AckStatus.LEFT)


def age_s(message: Message) -> float:
    """Seconds since a record was written, by its own stamp."""
    return max(0.0, time.time() - message.timestamp()[1] / 1_000)


def read_ack(value: bytes | None) -> Ack:
    """Raises WireError where it cannot be read, or is too large to be told to the ledger."""
    if value is not None and len(value) > LARGEST_ACK_BYTES:
        raise MalformedRecord(f"an ack has {len(value):,} bytes; at most {LARGEST_ACK_BYTES:,} are read")
    return records.decode(value, {"ack": Ack})


class Courier:
    def __init__(self, settings: Settings, verifier: Verifier) -> None:
        self.settings, self.topics, self.verifier = settings, settings.topics, verifier
        bootstrap = settings.need_kafka()
        self._appender = Appender(bootstrap)
        self._registry = RegistryView(bootstrap, self.topics("registry")).start()
        self._outstanding, self._presence = self._nothing()
        self._learnt: set[TP] = set()
        self._broken_glass: set[str] = set()
        self._homes: dict[str, int] = {}
        self._learnt_ms: int | None = None
        self._alerting = Alerting(receivers_of(settings))
        self._telling = Telling(
            settings, group_of(settings, ROLE), verifier, self._registry, self._alerting, self._gets_on
        )
        self._thread = ThreadPoolExecutor(1, ROLE)
        self.app: App = build_app(
            settings,
            ROLE,
            {"control": self.handle_control, "acks": self.handle_acks, "journal": self.handle_journal},
            restore=self._taken_over,
            alone=True,
        )
        self.app.on_partitions_revoked.connect(self._gives_back)
        self.app.on_before_shutdown.connect(self._close)
        self.app.timer(LOOK_EVERY_S, name="streams.courier.overdue")(self.look)
        self.app.timer(REPEAT_EVERY_S, name="streams.courier.repeat")(self.repeat)

    def _nothing(self) -> tuple[Outstanding, Presence]:
        return Outstanding(self.settings.ack_deadline_ms / 1_000), Presence(self.settings.instance_silent_s)

    def _remember(self) -> None:
        """What was issued and acked before this courier took over: nothing is forgotten with its predecessor."""
        self._outstanding, self._presence = self._nothing()
        answers = []  # of the others there is one from each instance twice a minute, for a month
        for message in self._whole("acks"):
            with suppress(WireError):  # a dead letter, of whoever read it as it came
                ack = read_ack(message.value())
                if ack.status in PRESENCE:
                    self._presence.heard(ack, time.monotonic() - age_s(message))
                else:
                    answers.append(ack)
        for message in self._whole("control"):
            self._noted(message.value(), cast(Headers, message.headers() or []), age_s(message))
        for ack in answers:
            self._outstanding.acked(ack)

    async def _taken_over(self, tp: TP) -> None:
        await self._in_thread(lambda: self._learn(tp))

    def _learn(self, tp: TP) -> None:
        """Before a partition is read: what its last courier knew and told. One that comes again may have been another's
        meanwhile, and its topic made again. Of acks nothing is told."""
        if not self._learnt or tp in self._learnt:
            self._learnt.clear()
            self._remember()
        self._learnt.add(tp)
        if tp.topic != self.topics("acks"):
            self._telling.recall(tp.partition)

    async def _gives_back(self, *_: object, **__: object) -> None:
        await self._in_thread(self._telling.forget)

    def _learn_homes(self) -> None:
        """The ledger partitions of experiments by their commands, which stand on the control partition of that number.

        Where a commit is under way, a command is seen before the registry entry that was written earlier. What was read
        before is not read again: acks of strangers would make it read a month of commands each.
        """
        since_ms, self._learnt_ms = self._learnt_ms, int(time.time() * 1_000) - UNORDERED_MS
        for message in self._whole("control", since_ms):
            try:
                headers = cast(Headers, message.headers() or [])
                command = read_command(message.value(), headers, self.topics("control"), self.verifier)
            except CommandRefused:
                continue  # told when its batch comes
            self._homes[command.experiment] = message.partition() or 0

    def _home(self, experiment: str) -> int | None:
        """Ledger partition of an experiment; None: nobody knows it."""
        entry = self._registry.get(experiment)
        return entry.partition if entry is not None else self._homes.get(experiment)

    def _whole(self, topic: str, since_ms: int | None = None) -> Iterator[Message]:
        return self._gets_on(whole(self.settings.need_kafka(), self.topics(topic), since_ms=since_ms))

    def _gets_on(self, messages: Generator[Message]) -> Generator[Message]:
        """What was told before is read again, a month of it, which may take minutes."""
        with closing(messages):
            for number, message in enumerate(messages):
                if number % LIVES_EVERY == 0 and (consumer := consumer_if_any(self.app)) is not None:
                    consumer.lives()
                yield message

    async def _close(self, *_: object, **__: object) -> None:
        await asyncio.to_thread(self._alerting.close)

    async def _in_thread(self, call: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call)

    # ---- commands ------------------------------------------------------------------------------

    async def handle_control(self, batch: Batch) -> None:
        if consumer_of(self.app).owns(batch):
            await self._in_thread(lambda: self._take_commands(batch))
        consumer_of(self.app).complete(batch)

    def _take_commands(self, batch: Batch) -> None:
        for record in batch.records:
            if (command := self._noted(record.value, list(record.headers))) is not None:
                self._telling.command(command)
        self._record(batch)

    def _noted(self, value: bytes | None, headers: Headers, age: float = 0.0) -> Command | None:
        """The command, where it is rightly signed; what was read before, as re-sends are, is not waited for anew."""
        topic, now_s = self.topics("control"), time.monotonic()
        try:
            command = read_command(value, headers, topic, self.verifier)
        except CommandRefused as error:
            log.error("a command that no monitor signed stands on the control topic", reason=str(error))
            return None
        message = CommandMessage(topic, command.experiment.encode(), value or b"", headers)
        instances = self._presence.instances(command.controllers, now_s - age)
        self._outstanding.issued(command, message, now_s, instances)
        return command

    def _record(self, batch: Batch) -> None:
        """A person's command past the monitor becomes a fact, so that the judge knows of it; a forged one, too."""
        for record in batch.records:
            headers = list(record.headers)
            try:
                command = read_command(record.value, headers, batch.tp.topic, self.verifier)
            except CommandRefused as refusal:
                self._record_forged(record, batch.tp.partition, str(refusal))
                continue
            self._homes[command.experiment] = batch.tp.partition
            if not command.breaks_glass or command.command_id in self._broken_glass:
                continue
            entry = self._registry.get(command.experiment)
            partition = entry.partition if entry is not None else batch.tp.partition
            self._to_ledger(_request_of(command, signing_key(headers), partition, record.offset), partition)
            self._broken_glass.add(command.command_id)
        self._appender.flush()

    def _record_forged(self, record: Record, partition: int, why: str) -> None:
        """As controllers answer it, and also where none was there to answer."""
        entry = self._registry.get((record.key or b"").decode("utf-8", "replace"))
        if entry is None:
            return
        command_id = UNVERIFIED + hashlib.sha256(record.value or b"").hexdigest()
        source = f"{record.topic}/{partition}/{record.offset}"
        at, status = record.timestamp_ms * 1_000, AckStatus.REJECTED.value
        fact = AckReceived(entry.experiment, command_id, "courier", "", status, why, at, 0, 0, source)
        self._to_ledger(fact, entry.partition)

    # ---- acks ----------------------------------------------------------------------------------

    async def handle_acks(self, batch: Batch) -> None:
        if consumer_of(self.app).owns(batch):
            await self._in_thread(lambda: self._append_acks(batch))
        consumer_of(self.app).complete(batch)

    def _append_acks(self, batch: Batch) -> None:
        """An ack whose experiment nobody knew would be passed over for good, and its command never be applied."""
        read = list(self._readable(batch))
        if any(ack.status not in PRESENCE and self._home(ack.experiment) is None for _, ack in read):
            self._learn_homes()
        for record, ack in read:
            if ack.status in PRESENCE:
                self._note_presence(ack)
            else:
                self._append_ack(ack, f"{batch.log}/{batch.tp.partition}/{record.offset}")
        self._appender.flush()

    def _readable(self, batch: Batch) -> Iterator[tuple[Record, Ack]]:
        for record in batch.records:
            try:
                yield record, read_ack(record.value)
            except WireError as error:
                self._dead_letter(record, batch, str(error))

    def _dead_letter(self, record: Record, batch: Batch, why: str) -> None:
        """Its command stays unapplied, as far as anybody can tell: on-call hears of that, and here is why."""
        told = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        log.warning("ack refused", reason=why, **told)
        code: Code = "too_large" if len(record.value or b"") > LARGEST_ACK_BYTES else "malformed"
        DEAD_LETTERS.labels(ROLE, code).inc()
        reject = Reject(record.offset, code, why, record.value or b"", record.timestamp_ms)
        letter = dead_letters.dead_letter(reject, batch.source, ROLE, record.key)
        self._appender.append(self.topics("deadletter"), dead_letters.encode(letter))

    def _note_presence(self, ack: Ack) -> None:
        """Every ledger that has to know is told when the courier looks."""
        self._presence.heard(ack, time.monotonic())
        change = self._outstanding.alive if ack.status == AckStatus.ALIVE else self._outstanding.left
        change(ack.controller, ack.instance)

    def _append_ack(self, ack: Ack, source: str) -> None:
        home = self._home(ack.experiment)
        command = self._outstanding.acked(ack) if home is not None else None
        if home is None or (command is not None and ack.controller not in command.controllers):
            log.warning("ack of a stranger", experiment=ack.experiment, controller=ack.controller)
            return
        fact = AckReceived(
            ack.experiment,
            ack.command_id,
            ack.controller,
            ack.instance,
            ack.status.value,
            ack.reason,
            ack.at,
            ack.run,
            ack.sequence,
            source,
        )
        self._to_ledger(fact, home)

    def _to_ledger(self, fact: AckReceived | AckOverdue | Request, partition: int) -> None:
        self._appender.append(self.topics("ledger"), ledger.encode(fact), key=ledger.key_of(fact), partition=partition)

    # ---- deadlines -----------------------------------------------------------------------------

    async def look(self) -> None:
        """Sends again what is overdue, and says so; who stands by knows nothing of it."""
        ours = any(tp.topic == self.topics("control") for tp in consumer_of(self.app).owned())
        if ours:
            await self._in_thread(self._tell_presence)
            await self._in_thread(self._send_again)
        UNACKED.set(sum(bool(waiting.awaited) for waiting in self._outstanding.waiting.values()) if ours else 0)

    def _tell_presence(self) -> None:
        """Says in the ledger of each experiment which instances of its controllers live, and which no more."""
        self._presence.let_go(time.monotonic(), [waiting.awaited for waiting in self._outstanding.waiting.values()])
        for entry in self._registry.entries():
            for (controller, instance), status in self._presence.news(entry.experiment, _controllers_of(entry)):
                at = time.time_ns() // 1_000
                fact = AckReceived(entry.experiment, "", controller, instance, status.value, "", at, 0, 0, "courier")
                self._to_ledger(fact, entry.partition)
        self._presence.forget_gone()
        self._appender.flush()

    def _send_again(self) -> None:
        for experiment in self._telling.late():
            if not self._outstanding.awaits(experiment):
                self._telling.applied(experiment, time.time_ns() // 1_000)
        for waiting, overdue in self._outstanding.overdue(time.monotonic()):
            command, message = waiting.command, waiting.message
            entry = self._registry.get(command.experiment)
            if entry is None:
                continue
            headers = [(name, value or b"") for name, value in message.headers]
            self._appender.append(
                message.topic, message.value, key=message.key, partition=entry.partition, headers=headers
            )
            for fact in overdue:
                log.error(
                    "command not applied in time",
                    experiment=command.experiment,
                    command_id=command.command_id,
                    controller=fact.controller,
                    instance=fact.instance,
                    waited_ms=fact.waited_ms,
                    resent=fact.resent,
                )
                self._to_ledger(fact, entry.partition)
                self._telling.overdue(command, fact)
        self._appender.flush()

    async def repeat(self) -> None:
        await self._in_thread(self._alerting.repeat)

    # ---- findings ------------------------------------------------------------------------------

    async def handle_journal(self, batch: Batch) -> None:
        if consumer_of(self.app).owns(batch):
            await self._in_thread(lambda: self._telling.conclusions(message.value() for message in batch.messages))
        consumer_of(self.app).complete(batch)


def _controllers_of(entry: RegistryEntry) -> tuple[str, ...]:
    try:
        return parsed(entry.spec).spec.assignment.controllers
    except InvalidExperiment:
        return ()  # another version's; it was told where the judge read it


def _request_of(command: Command, key_id: str, partition: int, offset: int) -> Request:
    return Request(
        request_id=command.command_id,
        experiment=command.experiment,
        action=BREAK_GLASS,
        by=f"break-glass key {key_id}",
        reason=command.reason,
        at=command.decided_at,
        partition=partition,
        accepted=True,
        opinion="",
        source=f"{command.topic}/{partition}/{offset}",
    )


def build(settings: Settings, verifier: Verifier) -> App:
    return Courier(settings, verifier).app

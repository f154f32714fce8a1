"""Courier: appends acks to the ledger as facts, sends commands again that are not applied, tells on-call.

It may look at the clock: the judge only sees its facts. Deadlines run from the moment it read a command at the end of
the log, so a judge that catches up after an outage raises no false alarm.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import structlog
from confluent_kafka import Message

from stoploss import journal, ledger
from stoploss.commands import Ack, AckStatus, Command
from stoploss.control.alerts import (
    BLIND,
    OVERDUE,
    Alert,
    alert_for,
    alert_for_blind,
    alert_for_finding,
    alert_for_overdue,
    linked,
)
from stoploss.control.controller import UNVERIFIED
from stoploss.control.messages import CommandMessage, Headers, read_command, signing_key
from stoploss.errors import CommandRefused, InvalidExperiment, WireError
from stoploss.journal import CommandIssued, Finding, JournalEntry, LifecycleChanged, MonitorBlind
from stoploss.ledger import AckOverdue, AckReceived, Request
from stoploss.lifecycle import BREAK_GLASS
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.signing import Verifier
from stoploss.state import parsed
from stoploss.wire import records
from streams.admin import Admin
from streams.alerting import REPEAT_EVERY_S, Alerting, is_all_clear, is_over, receivers_of
from streams.app import App, build_app
from streams.appender import Appender
from streams.batches import Batch, Record
from streams.measuring import UNACKED
from streams.outstanding import Outstanding
from streams.presence import Presence
from streams.reading import whole
from streams.registry_view import RegistryView
from streams.transport import consumer_of

log = structlog.get_logger("stoploss.courier")

LOOK_EVERY_S = 0.5
PRESENCE = (AckStatus.ALIVE, AckStatus.LEFT)


def age_s(message: Message) -> float:
    """Seconds since a record was written, by its own stamp."""
    return max(0.0, time.time() - message.timestamp()[1] / 1_000)


class Courier:
    def __init__(self, settings: Settings, verifier: Verifier) -> None:
        self.settings, self.topics, self.verifier = settings, settings.topics, verifier
        bootstrap = settings.need_kafka()
        self._appender = Appender(bootstrap)
        self._registry = RegistryView(bootstrap, self.topics("registry")).start()
        self._uuid = Admin(bootstrap).uuids([self.topics("acks")])[self.topics("acks")]
        self._outstanding = Outstanding(settings.ack_deadline_ms / 1_000)
        self._presence = Presence(settings.instance_silent_s)
        self._broken_glass: set[str] = set()
        self._homes: dict[str, int] = {}
        self._alerting = Alerting(receivers_of(settings))
        self._thread = ThreadPoolExecutor(1, "courier")
        self._remember()
        self.app: App = build_app(
            settings,
            "courier",
            {"control": self.handle_control, "acks": self.handle_acks, "journal": self.handle_journal},
        )
        self.app.on_before_shutdown.connect(self._close)
        self.app.timer(LOOK_EVERY_S, name="streams.courier.overdue")(self.look)
        self.app.timer(REPEAT_EVERY_S, name="streams.courier.repeat")(self.repeat)

    def _remember(self) -> None:
        """What was issued and acked before this courier began: nothing is forgotten with its predecessor.

        What still fires is told again at once: it may have been issued while no courier was there.
        """
        acks = [(ack, age_s(m)) for m in self._whole("acks") if (ack := self._ack(m.value())) is not None]
        for ack, age in acks:
            if ack.status in PRESENCE:
                self._presence.heard(ack, time.monotonic() - age)
        firing: dict[str, list[Command]] = {}
        for message in self._whole("control"):
            command = self._noted(message.value(), cast(Headers, message.headers() or []), age_s(message))
            if command is not None and is_all_clear(command):
                firing.pop(command.experiment, None)
            elif command is not None:
                firing.setdefault(command.experiment, []).append(command)
        for ack, _ in acks:
            if ack.status not in PRESENCE:
                self._outstanding.acked(ack)
        for experiment, commands in firing.items():
            entry = self._registry.get(experiment)
            for command in commands if entry is None or not is_over(entry.lifecycle) else ():
                self._tell(command)

    def _learn_homes(self) -> None:
        """The ledger partitions of experiments by their commands, which stand on the control partition of that number.

        Where a commit is under way, a command is seen before the registry entry that was written earlier.
        """
        for message in self._whole("control"):
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

    def _whole(self, topic: str) -> Iterator[Message]:
        return whole(self.settings.need_kafka(), self.topics(topic))

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
                self._tell(command)
        self._record(batch)

    def _noted(self, value: bytes | None, headers: Headers, age: float = 0.0) -> Command | None:
        """The command, where it is rightly signed and newer than what was read before; re-sends are not."""
        topic, now_s = self.topics("control"), time.monotonic()
        try:
            command = read_command(value, headers, topic, self.verifier)
        except CommandRefused as error:
            log.error("a command that no monitor signed stands on the control topic", reason=str(error))
            return None
        message = CommandMessage(topic, command.experiment.encode(), value or b"", headers)
        instances = self._presence.instances(command.controllers, now_s - age)
        return command if self._outstanding.issued(command, message, now_s, instances) else None

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

    def _tell(self, command: Command) -> None:
        if is_all_clear(command):
            self._alerting.resolve(command.experiment, command.decided_at)
        else:
            self._fire(alert_for(command, runbook=self._runbook(command.experiment)))

    def _fire(self, alert: Alert) -> None:
        self._alerting.fire(linked(alert, console=self.settings.console_url, runbooks=self.settings.runbook_url))

    def _runbook(self, experiment: str) -> str:
        entry = self._registry.get(experiment)
        return parsed(entry.spec).metadata.annotations.get("runbook", "") if entry else ""

    # ---- acks ----------------------------------------------------------------------------------

    async def handle_acks(self, batch: Batch) -> None:
        if consumer_of(self.app).owns(batch):
            await self._in_thread(lambda: self._append_acks(batch))
        consumer_of(self.app).complete(batch)

    def _append_acks(self, batch: Batch) -> None:
        """An ack whose experiment nobody knew would be passed over for good, and its command never be applied."""
        read = [(record, ack) for record in batch.records if (ack := self._ack(record.value)) is not None]
        if any(ack.status not in PRESENCE and self._home(ack.experiment) is None for _, ack in read):
            self._learn_homes()
        for record, ack in read:
            if ack.status in PRESENCE:
                self._note_presence(ack)
            else:
                self._append_ack(ack, f"{self._uuid}/{batch.tp.partition}/{record.offset}")
        self._appender.flush()

    def _ack(self, value: bytes | None) -> Ack | None:
        try:
            return records.decode(value, {"ack": Ack})
        except WireError as error:
            log.warning("ack refused", reason=str(error))
            return None

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
        """Sends again what is overdue, and says so; only the worker that reads the control topic does."""
        if any(tp.topic == self.topics("control") for tp in consumer_of(self.app).owned()):
            await self._in_thread(self._tell_presence)
            await self._in_thread(self._send_again)
            UNACKED.set(sum(bool(waiting.awaited) for waiting in self._outstanding.waiting.values()))

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
        for waiting in self._outstanding.settled():
            self._alerting.resolve(waiting.command.experiment, time.time_ns() // 1_000, OVERDUE)
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
                    controller=fact.controller,
                    instance=fact.instance,
                    waited_ms=fact.waited_ms,
                    resent=fact.resent,
                )
                self._to_ledger(fact, entry.partition)
                runbook = self._runbook(command.experiment)
                self._fire(alert_for_overdue(command, fact, at=command.decided_at, runbook=runbook))
        self._appender.flush()

    async def repeat(self) -> None:
        self._alerting.repeat()

    # ---- findings ------------------------------------------------------------------------------

    def _tell_blind(self, entry: JournalEntry, blind: MonitorBlind) -> None:
        """Unlike a finding it is over by itself, once the monitor sees again."""
        if blind.until is None:
            self._fire(alert_for_blind(entry, blind, runbook=self._runbook(entry.experiment)))
        else:
            self._alerting.resolve(entry.experiment, blind.until, BLIND)

    async def handle_journal(self, batch: Batch) -> None:
        """Findings that led to no command are told by themselves; the others are told with their command."""
        entries = list(_journal_entries(batch.records))
        ordered = {(e.experiment, e.ledger_offset) for e in entries if isinstance(e.conclusion, CommandIssued)}
        for entry in entries:
            finding = entry.conclusion
            if isinstance(finding, MonitorBlind):
                self._tell_blind(entry, finding)
            if isinstance(finding, LifecycleChanged) and is_over(finding.after):
                self._alerting.resolve(entry.experiment, entry.at)
            if isinstance(finding, Finding) and (entry.experiment, entry.ledger_offset) not in ordered:
                self._fire(alert_for_finding(entry, finding, runbook=self._runbook(entry.experiment)))
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


def _journal_entries(found: Iterable[Record]) -> Iterable[JournalEntry]:
    for record in found:
        try:
            yield journal.decode(record.value)
        except WireError as error:
            log.error("journal entry cannot be read", offset=record.offset, reason=str(error))


def build(settings: Settings, verifier: Verifier) -> App:
    return Courier(settings, verifier).app

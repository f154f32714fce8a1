"""Courier: appends acks to the ledger as facts, sends commands again that are not applied, tells on-call.

It may look at the clock: the judge only sees its facts. Deadlines run from the moment it read a command at the end of
the log, so a judge that catches up after an outage raises no false alarm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import structlog
from aiokafka import ConsumerRecord

from stoploss import journal, ledger
from stoploss.commands import Ack, Command
from stoploss.control.alerts import alert_for, alert_for_finding, alert_for_overdue
from stoploss.control.messages import CommandMessage, Headers, read_command
from stoploss.errors import CommandRefused, WireError
from stoploss.journal import CommandIssued, Finding, JournalEntry
from stoploss.ledger import AckOverdue, AckReceived
from stoploss.settings import Settings
from stoploss.signing import Verifier
from stoploss.spec.file import parse_experiment
from stoploss.wire import records
from streams.admin import Admin
from streams.alerting import REPEAT_EVERY_S, Alerting, is_all_clear, receivers_of
from streams.app import App, build_app
from streams.appender import Appender
from streams.batches import Batch
from streams.outstanding import Outstanding
from streams.reading import whole
from streams.registry_view import RegistryView
from streams.transport import consumer_of

log = structlog.get_logger("stoploss.courier")

LOOK_EVERY_S = 0.5


class Courier:
    def __init__(self, settings: Settings, verifier: Verifier) -> None:
        self.settings, self.topics, self.verifier = settings, settings.topics, verifier
        bootstrap = settings.need_kafka()
        self._appender = Appender(bootstrap)
        self._registry = RegistryView(bootstrap, self.topics("registry")).start()
        self._uuid = Admin(bootstrap).uuids([self.topics("acks")])[self.topics("acks")]
        self._outstanding = Outstanding(settings.ack_deadline_ms / 1_000)
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
        firing: dict[str, list[Command]] = {}
        for message in whole(self.settings.need_kafka(), self.topics("control")):
            command = self._noted(message.value(), cast(Headers, message.headers() or []))
            if command is not None and is_all_clear(command):
                firing.pop(command.experiment, None)
            elif command is not None:
                firing.setdefault(command.experiment, []).append(command)
        for message in whole(self.settings.need_kafka(), self.topics("acks")):
            if (ack := self._ack(message.value())) is not None:
                self._outstanding.acked(ack)
        for commands in firing.values():
            for command in commands:
                self._tell(command)

    async def _close(self, *_: object, **__: object) -> None:
        await asyncio.to_thread(self._alerting.close)

    async def _in_thread(self, call: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call)

    # ---- commands ------------------------------------------------------------------------------

    async def handle_control(self, batch: Batch) -> None:
        for record in batch.records:
            if (command := self._noted(record.value, list(record.headers))) is not None:
                self._tell(command)
        consumer_of(self.app).complete(batch)

    def _noted(self, value: bytes | None, headers: Headers) -> Command | None:
        """The command, where a monitor signed it and it is newer than what was read before; re-sends are not."""
        topic = self.topics("control")
        try:
            command = read_command(value, headers, topic, self.verifier)
        except CommandRefused as error:
            log.error("a command that no monitor signed stands on the control topic", reason=str(error))
            return None
        message = CommandMessage(topic, command.experiment.encode(), value or b"", headers)
        return command if self._outstanding.issued(command, message, time.monotonic()) else None

    def _tell(self, command: Command) -> None:
        if is_all_clear(command):
            self._alerting.resolve(command.experiment, command.decided_at)
        else:
            self._alerting.fire(alert_for(command, runbook=self._runbook(command.experiment)))

    def _runbook(self, experiment: str) -> str:
        entry = self._registry.get(experiment)
        return parse_experiment(entry.spec).metadata.annotations.get("runbook", "") if entry else ""

    # ---- acks ----------------------------------------------------------------------------------

    async def handle_acks(self, batch: Batch) -> None:
        if consumer_of(self.app).owns(batch):
            await self._in_thread(lambda: self._append_acks(batch))
        consumer_of(self.app).complete(batch)

    def _append_acks(self, batch: Batch) -> None:
        for record in batch.records:
            self._append_ack(record, batch.tp.partition)
        self._appender.flush()

    def _ack(self, value: bytes | None) -> Ack | None:
        try:
            return records.decode(value, {"ack": Ack})
        except WireError as error:
            log.warning("ack refused", reason=str(error))
            return None

    def _append_ack(self, record: ConsumerRecord, partition: int) -> None:
        ack = self._ack(record.value)
        if ack is None:
            return
        entry = self._registry.get(ack.experiment)
        command = self._outstanding.acked(ack) if entry is not None else None
        if entry is None or (command is not None and ack.controller not in command.controllers):
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
            f"{self._uuid}/{partition}/{record.offset}",
        )
        self._to_ledger(fact, entry.partition)

    def _to_ledger(self, fact: AckReceived | AckOverdue, partition: int) -> None:
        self._appender.append(self.topics("ledger"), ledger.encode(fact), key=ledger.key_of(fact), partition=partition)

    # ---- deadlines -----------------------------------------------------------------------------

    async def look(self) -> None:
        """Sends again what is overdue, and says so; only the worker that reads the control topic does."""
        if any(tp.topic == self.topics("control") for tp in consumer_of(self.app).owned()):
            await self._in_thread(self._send_again)

    def _send_again(self) -> None:
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
                    waited_ms=fact.waited_ms,
                    resent=fact.resent,
                )
                self._to_ledger(fact, entry.partition)
                self._alerting.fire(alert_for_overdue(command, fact, at=command.decided_at))
        self._appender.flush()

    async def repeat(self) -> None:
        self._alerting.repeat()

    # ---- findings ------------------------------------------------------------------------------

    async def handle_journal(self, batch: Batch) -> None:
        """Findings that led to no command are told by themselves; the others are told with their command."""
        entries = list(_journal_entries(batch.records))
        ordered = {(e.experiment, e.ledger_offset) for e in entries if isinstance(e.conclusion, CommandIssued)}
        for entry in entries:
            finding = entry.conclusion
            if isinstance(finding, Finding) and (entry.experiment, entry.ledger_offset) not in ordered:
                self._alerting.fire(alert_for_finding(entry, finding, runbook=self._runbook(entry.experiment)))
        consumer_of(self.app).complete(batch)


def _journal_entries(found: Iterable[ConsumerRecord]) -> Iterable[JournalEntry]:
    for record in found:
        try:
            yield journal.decode(record.value)
        except WireError as error:
            log.error("journal entry cannot be read", offset=record.offset, reason=str(error))


def build(settings: Settings, verifier: Verifier) -> App:
    return Courier(settings, verifier).app

"""What on-call is told of commands, of the journal and of late acks; and what it was told before this courier began."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import takewhile
from typing import cast

import structlog
from confluent_kafka import Message
from faust.types import TP

from stoploss import journal
from stoploss.commands import AckStatus, Command, Micros
from stoploss.control.alerts import (
    BLIND,
    OVERDUE,
    Alert,
    alert_for,
    alert_for_blind,
    alert_for_finding,
    alert_for_overdue,
    alert_for_undeclared,
    linked,
)
from stoploss.control.firing import End, Firing, News
from stoploss.control.messages import Headers, read_command
from stoploss.errors import CommandRefused, WireError
from stoploss.journal import (
    NOT_DECLARED,
    CommandAcked,
    CommandIssued,
    EvidenceRefused,
    Finding,
    JournalEntry,
    LifecycleChanged,
    MonitorBlind,
)
from stoploss.ledger import AckOverdue
from stoploss.review.overview import amended
from stoploss.settings import Settings
from stoploss.signing import Verifier
from stoploss.spec.file import parsed
from stoploss.topics import TOPICS
from streams.alerting import Alerting, is_all_clear, is_decided
from streams.places import committed, observer
from streams.reading import whole
from streams.registry_view import RegistryView

TOLD = MonitorBlind | LifecycleChanged | Finding | EvidenceRefused | CommandIssued | CommandAcked

log = structlog.get_logger("stoploss.courier")


class Telling:
    """For one thread.

    group    consumer group of the couriers
    gets_on  hands on what is read of a whole topic, and tells the watchdog that it gets on
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        verifier: Verifier,
        registry: RegistryView,
        alerting: Alerting,
        gets_on: Callable[[Generator[Message]], Generator[Message]],
    ) -> None:
        self.settings, self.topics = settings, settings.topics
        self._group, self._verifier, self._registry, self._alerting = group, verifier, registry, alerting
        self._gets_on = gets_on
        self._recalled: set[int] = set()

    # ---- what comes ----------------------------------------------------------------------------

    def command(self, command: Command) -> None:
        self._alerting.tell([self._of_command(command)])

    def conclusions(self, values: Iterable[bytes | None]) -> None:
        self._alerting.tell(self._of_conclusions(list(_entries(values))))

    def overdue(self, command: Command, fact: AckOverdue) -> None:
        self._alerting.tell([self._of_overdue(command, fact)])

    def late(self) -> set[str]:
        """Experiments of which it was told that a command is not applied."""
        return {alert.experiment for alert in self._alerting.firing.alerts.values() if alert.alertname == OVERDUE}

    def applied(self, experiment: str, at: Micros) -> None:
        self._alerting.tell([End(experiment, at, OVERDUE)])

    # ---- what was told before ------------------------------------------------------------------

    def forget(self) -> None:
        """Partitions may go to another courier, who tells of them from then on."""
        self._recalled.clear()
        self._alerting.firing = Firing()

    def recall(self, partition: int) -> None:
        """Learns what fired of a partition when a courier had last read of it, and tells it once more.

        What stands behind that place comes by itself: new harm, and the end of what was told before.
        """
        if partition not in self._recalled and self._alerting.has_receivers:
            self._recalled.add(partition)
            self._alerting.recall(self._told_before(partition))

    def _told_before(self, partition: int) -> Firing:
        commands = [command for message in self._done("control", partition) if (command := self._read(message))]
        entries = list(_entries(message.value() for message in self._done("journal", partition)))
        firing = Firing()
        firing.take(map(self._of_command, commands))
        firing.take(self._of_conclusions(entries))
        firing.take(self._of_acks(entries, {command.command_id: command for command in commands}))
        return firing

    def _read(self, message: Message) -> Command | None:
        try:
            headers = cast(Headers, message.headers() or [])
            return read_command(message.value(), headers, self.topics("control"), self._verifier)
        except CommandRefused:
            return None  # told where it is read as it comes

    def _done(self, topic: str, partition: int) -> Iterator[Message]:
        """What the group has read of a partition, as far back as commands are kept; everything, where it is new."""
        bootstrap, name = self.settings.need_kafka(), self.topics(topic)
        with closing(observer(bootstrap, self._group)) as group:
            place = committed(group, TP(name, partition))
        since_ms = time.time_ns() // 1_000_000 - TOPICS["control"].retention_ms
        with closing(self._gets_on(whole(bootstrap, name, partition, since_ms=since_ms))) as messages:
            yield from takewhile(lambda message: place is None or cast(int, message.offset()) < place, messages)

    # ---- what there is to tell -----------------------------------------------------------------

    def _of_command(self, command: Command) -> News:
        if is_all_clear(command):
            return End(command.experiment, command.decided_at)
        return self._linked(alert_for(command, runbook=self._runbook(command.experiment)))

    def _of_overdue(self, command: Command, fact: AckOverdue) -> Alert:
        runbook = self._runbook(command.experiment)
        return self._linked(alert_for_overdue(command, fact, at=command.decided_at, runbook=runbook))

    def _of_conclusions(self, entries: list[JournalEntry]) -> Iterator[News]:
        """Findings that led to no command are told by themselves; the others are told with their command."""
        ordered = {(e.experiment, e.ledger_offset) for e in entries if isinstance(e.conclusion, CommandIssued)}
        for entry in entries:
            runbook = self._runbook(entry.experiment)
            match entry.conclusion:
                case MonitorBlind(until=None) as blind:
                    yield self._linked(alert_for_blind(entry, blind, runbook=runbook))
                case MonitorBlind(until=int(seen_at)):  # over by itself, unlike a finding
                    yield End(entry.experiment, seen_at, BLIND)
                case EvidenceRefused(cause=cause) as refused if cause == NOT_DECLARED:
                    yield self._linked(alert_for_undeclared(entry, refused, runbook=runbook))
                case LifecycleChanged(after=after) if is_decided(after):
                    yield End(entry.experiment, entry.at)
                case Finding() as finding if (entry.experiment, entry.ledger_offset) not in ordered:
                    yield self._linked(alert_for_finding(entry, finding, runbook=runbook))

    def _of_acks(self, entries: Iterable[JournalEntry], commands: Mapping[str, Command]) -> Iterator[News]:
        """Who was late when the journal was last read; whoever still is will be found late again."""
        for entry in entries:
            match entry.conclusion:
                case CommandAcked(command_id, controller, instance, status="overdue") if command_id in commands:
                    command = commands[command_id]
                    waited_ms = (entry.at - command.decided_at) // 1_000
                    late = AckOverdue(
                        entry.experiment, command_id, controller, waited_ms, 1, entry.run, command.sequence, instance
                    )
                    yield self._of_overdue(command, late)
                case CommandAcked(status=AckStatus.APPLIED.value) | CommandIssued():
                    yield End(entry.experiment, entry.at, OVERDUE)

    def _linked(self, alert: Alert) -> Alert:
        entry, settings = self._registry.get(alert.experiment), self.settings
        changed = "; ".join(amended(entry)) if entry else ""
        return linked(alert, console=settings.console_url, runbooks=settings.runbook_url, amended=changed)

    def _runbook(self, experiment: str) -> str:
        entry = self._registry.get(experiment)
        return parsed(entry.spec).metadata.annotations.get("runbook", "") if entry else ""


def _entries(values: Iterable[bytes | None]) -> Iterator[JournalEntry]:
    """Those of which there is something to tell."""
    for value in values:
        try:
            entry = journal.decode(value)
        except WireError as error:
            log.error("journal entry cannot be read", reason=str(error))
            continue
        if isinstance(entry.conclusion, TOLD):
            yield entry

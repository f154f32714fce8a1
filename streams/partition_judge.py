"""The judge of one ledger partition, without Faust: restore, fold, publish, snapshot. Runs in a thread of its own."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from aiokafka import ConsumerRecord

from stoploss import __version__, checkpoints, ledger
from stoploss.control.messages import write_command
from stoploss.errors import ReplayDiverged, WireError
from stoploss.folding import settle
from stoploss.intake import dead_letters
from stoploss.intake.results import Reject
from stoploss.leases.message import headers_of
from stoploss.ledger import Entry, JudgeVersion, Source
from stoploss.monitor import step
from stoploss.outputs import CommandOutput, JournalOutput, LeaseOutput, MeasureOutput, Output, RegistryOutput
from stoploss.rules import rules_version
from stoploss.settings import Settings
from stoploss.signing import Signer
from stoploss.state import Cursor, PartitionState
from streams.appender import Appender
from streams.measuring import COMMANDS, CONCLUSIONS, DEAD_LETTERS
from streams.snapshot_store import cursor_record, read_snapshots, write_snapshot
from streams.transactions import Outgoing, Transactor

SNAPSHOT_EVERY_S = 30.0
SNAPSHOT_EVERY_ENTRIES = 5_000

log = structlog.get_logger("stoploss.judge")


@dataclass(frozen=True, slots=True)
class Keys:
    """What a judge signs commands with, and what it seals snapshots with."""

    signer: Signer
    secret: bytes


def this_version(partition: int) -> JudgeVersion:
    """What a replay has to match to give the same bytes."""
    installed = importlib.metadata.version
    return JudgeVersion(
        partition,
        __version__,
        platform.python_version(),
        installed("numpy"),
        installed("river"),
        installed("tzdata"),
        rules_version(),
    )


class PartitionJudge:
    """Call `restore` once, then `judge` with records in ledger order; every call blocks until it is durable."""

    def __init__(self, settings: Settings, partition: int, keys: Keys) -> None:
        self.settings, self.partition, self.keys = settings, partition, keys
        self.topics = settings.topics
        bootstrap = settings.need_kafka()
        self._transactor = Transactor(bootstrap, f"stoploss-{settings.installation}-judge-{partition}", partition)
        self._appender = Appender(bootstrap, linger_ms=0)
        self._state = PartitionState(partition)
        self._cursors: dict[str, Cursor] = {}
        self._generation = 0
        self._largest_parts = 0
        self._folded_since_snapshot = 0
        self._snapshot_at_s = time.monotonic()

    def restore(self) -> int:
        """Fences the owner before, reads the newest snapshot, and gives the ledger offset to go on from."""
        self._transactor.open()
        restored = read_snapshots(
            self.settings.need_kafka(), self.topics("snapshots"), self.partition, self.keys.secret
        )
        for fault in restored.unreadable:
            log.warning("snapshot passed over", partition=self.partition, fault=fault)
        self._state, self._cursors = restored.state, restored.cursors
        self._generation, self._largest_parts = restored.generation, restored.parts
        log.info(
            "restored", partition=self.partition, offset=self._state.offset, experiments=len(self._state.experiments)
        )
        return self._state.offset + 1

    def announce(self) -> None:
        """Says in the ledger which version judges from here on, if it is another than before."""
        mine = this_version(self.partition)
        if self._state.version != mine.text:
            self._append(mine)

    def tick(self, owner: str) -> None:
        self._append(ledger.Tick(self.partition, owner))

    def _append(self, fact: ledger.Fact) -> None:
        self._appender.append(self.topics("ledger"), ledger.encode(fact), partition=self.partition)
        self._appender.flush()

    def judge(self, records: Sequence[ConsumerRecord]) -> None:
        """Folds the records and publishes what follows from them; entries before the snapshot are passed over."""
        said: list[Output] = []
        touched: dict[str, Cursor] = {}
        for record in records:
            if record.offset <= self._state.offset:
                continue
            for output in self._fold(record):
                said.append(output)
                if not isinstance(output, LeaseOutput):
                    touched[output.experiment] = self._cursor_at(output.experiment, record.offset, output.ordinal)
            self._folded_since_snapshot += 1
        if said:
            outgoing = [self._outgoing(output) for output in _with_newest_lease(said)]
            self._publish([*outgoing, *self._checkpoints(said)], touched)
            _measure(said)

    def behind_s(self) -> float:
        """Seconds since the broker took the newest entry that was folded; 0 before the first."""
        return max(0.0, time.time() - self._state.clock / 1e6) if self._state.clock else 0.0

    def blind_runs(self) -> int:
        return sum(experiment.current.sight.since is not None for experiment in list(self._state.experiments.values()))

    def _fold(self, record: ConsumerRecord) -> list[Output]:
        """Outputs of one entry that were not published before."""
        try:
            entry = Entry(self.partition, record.offset, record.timestamp * 1_000, ledger.decode(record.value))
            outputs = step(self._state, entry, self.topics("control"))
        except WireError as error:
            self._dead_letter(record, error)
            self._state.offset = record.offset
            return []
        self._compare(record.offset)
        return [output for output in outputs if not self._published(output, record.offset)]

    def _published(self, output: Output, offset: int) -> bool:
        if isinstance(output, LeaseOutput):
            return False
        cursor = self._cursors.get(output.experiment)
        return cursor is not None and (offset, output.ordinal) <= (cursor.offset, cursor.ordinal)

    def _compare(self, offset: int) -> None:
        """A fold that reaches what was published must have come to the same conclusions, byte for byte."""
        for cursor in [cursor for cursor in self._cursors.values() if cursor.offset == offset]:
            state = self._state.experiments.get(cursor.experiment)
            found = (state.number, state.chain) if state else None
            if found != (cursor.number, cursor.chain):
                raise ReplayDiverged(
                    f"experiment {cursor.experiment!r}: folding the ledger up to offset {offset} gives journal entry "
                    f"{found}, published was {(cursor.number, cursor.chain)}; judge it with the version that wrote it"
                )

    def _cursor_at(self, experiment: str, offset: int, ordinal: int) -> Cursor:
        state = self._state.experiments[experiment]
        return Cursor(experiment, self.partition, offset, ordinal, state.run, state.sequence, state.number, state.chain)

    def _outgoing(self, output: Output) -> Outgoing:
        if isinstance(output, LeaseOutput):
            value = output.value
            return Outgoing(self.topics("leases"), b"", value, headers_of(value, self.keys.signer))
        key = output.experiment.encode()
        match output:
            case JournalOutput():
                return Outgoing(self.topics("journal"), key, output.value)
            case RegistryOutput():
                return Outgoing(self.topics("registry"), key, output.value)
            case MeasureOutput():
                return Outgoing(self.topics("measures"), key, output.value)
            case CommandOutput():
                message = write_command(output.command, self.keys.signer, self.settings.installation)
                return Outgoing(message.topic, message.key, message.value, message.headers)

    def _checkpoints(self, said: Sequence[Output]) -> list[Outgoing]:
        """In the transaction of the entries that they cover; signed here, as commands are, outside of `step`."""
        entries = [output for output in said if isinstance(output, JournalOutput)]
        due = [output for output in entries if checkpoints.is_due(output.entry, self.settings.checkpoint_every)]
        return [self._checkpoint(output) for output in due]

    def _checkpoint(self, output: JournalOutput) -> Outgoing:
        value = checkpoints.encode(checkpoints.checkpoint_of(output.entry, output.value, self.settings.installation))
        key = output.experiment.encode()
        return Outgoing(self.topics("checkpoints"), key, value, headers_of(value, self.keys.signer))

    def _publish(self, outgoing: list[Outgoing], touched: dict[str, Cursor]) -> None:
        for cursor in touched.values():
            key, value = cursor_record(cursor)
            outgoing.append(Outgoing(self.topics("snapshots"), key, value))
        self._transactor.publish(outgoing)
        self._cursors.update(touched)

    def snapshot_if_due(self) -> None:
        """Every 30 s or 5,000 entries, if anything was folded; what is lost with it is only time."""
        elapsed_s = time.monotonic() - self._snapshot_at_s
        due = elapsed_s >= SNAPSHOT_EVERY_S or self._folded_since_snapshot >= SNAPSHOT_EVERY_ENTRIES
        if not due or not self._folded_since_snapshot or not self._state.experiments:
            return
        for experiment in self._state.experiments.values():
            settle(experiment)
        topic, before = self.topics("snapshots"), self._largest_parts
        written = write_snapshot(self._appender, topic, self._state, self._generation, self.keys.secret, before)
        log.debug("snapshot", partition=self.partition, offset=self._state.offset, bytes=written.size_bytes)
        self._generation, self._largest_parts = self._generation + 1, max(before, written.parts)
        self._folded_since_snapshot, self._snapshot_at_s = 0, time.monotonic()

    def _dead_letter(self, record: ConsumerRecord, error: WireError) -> None:
        log.warning("ledger entry passed over", partition=self.partition, offset=record.offset, reason=str(error))
        source = Source(self.topics("ledger"), "", self.partition)
        reject = Reject(record.offset, "malformed", str(error), record.value or b"", record.timestamp)
        DEAD_LETTERS.labels("judge", reject.code).inc()
        letter = dead_letters.dead_letter(reject, source, "judge", record.key)
        self._appender.append(self.topics("deadletter"), dead_letters.encode(letter))
        self._appender.flush()


def _measure(published: Sequence[Output]) -> None:
    for output in published:
        match output:
            case JournalOutput():
                CONCLUSIONS.inc()
            case CommandOutput():
                COMMANDS.labels(output.command.action.value).inc()


def _with_newest_lease(said: Sequence[Output]) -> list[Output]:
    """Of several leases only the newest says anything: the others stand in a backlog."""
    leases = [output for output in said if isinstance(output, LeaseOutput)]
    return [output for output in said if not isinstance(output, LeaseOutput)] + leases[-1:]

"""The judge of one ledger partition, without Faust: restore, fold, publish, snapshot. Runs in a thread of its own."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from stoploss import __version__, checkpoints, ledger
from stoploss.commands import Command
from stoploss.control.messages import write_command
from stoploss.errors import LedgerIncomplete, ReplayDiverged, WireError
from stoploss.folding import settle
from stoploss.intake import dead_letters
from stoploss.intake.dead_letters import Reject
from stoploss.leases.message import headers_of
from stoploss.ledger import AckReceived, Entry, JudgeVersion, Source
from stoploss.monitor import step
from stoploss.outputs import CommandOutput, JournalOutput, LeaseOutput, MeasureOutput, Output, RegistryOutput
from stoploss.registry import RegistryEntry
from stoploss.rules import rules_version
from stoploss.settings import Settings
from stoploss.signing import Signer
from stoploss.state import Cursor, ExperimentState, PartitionState
from stoploss.succession import adopt, can_judge, follow
from streams.appender import Appender
from streams.batches import Record
from streams.measuring import COMMANDS, CONCLUSIONS, DEAD_LETTERS
from streams.published import published
from streams.reading import reader, watermarks
from streams.snapshot_store import cursor_record, read_snapshots, write_snapshot
from streams.transactions import Outgoing, Transactor

SNAPSHOT_EVERY_S = 30.0
SNAPSHOT_EVERY_ENTRIES = 5_000
MOST_ACKS = 1_024

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
    """Call `restore` once, then `judge` with records in ledger order; every call blocks until it is durable.

    _begun     by experiment: number of the journal entry at which it began to fold; 0 where it had no snapshot
    _left_out  experiments that this version cannot judge
    _acks      the last ones of what was folded again, in case that others' commands have other ids
    _said      all that follows from what was folded is published
    _stamp_ms  the broker's, of the entry that was folded last; ledger time never goes back, and brokers' clocks do
    """

    def __init__(self, settings: Settings, partition: int, keys: Keys) -> None:
        self.settings, self.partition, self.keys = settings, partition, keys
        self._mine = this_version(partition)
        self._begun: dict[str, int] = {}
        self._left_out: set[str] = set()
        self._said = True
        self._stamp_ms = 0
        self._acks: deque[AckReceived] = deque(maxlen=MOST_ACKS)
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
        first = self._ledger_begins_at()
        if first > self._state.offset + 1:
            self._go_on_behind_the_gap(first)
        self._begun = {name: experiment.number for name, experiment in self._state.experiments.items()}
        log.info(
            "restored", partition=self.partition, offset=self._state.offset, experiments=len(self._state.experiments)
        )
        return self._state.offset + 1

    def _ledger_begins_at(self) -> int:
        consumer = reader(self.settings.need_kafka())
        try:
            return watermarks(consumer, self.topics("ledger"), self.partition)[0]
        finally:
            consumer.close()

    def _go_on_behind_the_gap(self, first: int) -> None:
        """What was deleted cannot be folded any more: what was published stands, and what runs is paused.

        The snapshot at the end is what nobody finds the gap before; until it stands, the same is done again.
        """
        told = {"partition": self.partition, "snapshot": self._state.offset, "ledger_begins_at": first}
        log.error("the ledger was deleted further than it was judged; what runs is paused", **told)
        entries = published(self.settings, self.partition)
        known, self._state.experiments = self._state.experiments, {}
        for name in sorted(known.keys() | entries.keys()):
            self._adopt(name, known.get(name), self._cursors.get(name), entries.get(name))
        self._state.offset = max([first - 1, *(cursor.offset for cursor in self._cursors.values())])
        self._folded_since_snapshot = 1
        self._snapshot()

    def _adopt(
        self, name: str, known: ExperimentState | None, cursor: Cursor | None, entry: RegistryEntry | None
    ) -> None:
        if cursor is None or entry is None or not can_judge(entry):
            log.error("nothing of it is left that this version can go on from; in no lease", experiment=name)
            self._left_out.add(name)
            return
        self._state.experiments[name], pause = adopt(known, cursor, entry)
        if pause is not None:
            self._append(pause)

    def announce(self) -> None:
        """Says in the ledger which version judges from here on. Which one did before, only the ledger's end knows."""
        self._append(self._mine)

    def tick(self, owner: str) -> None:
        self._append(ledger.Tick(self.partition, owner))

    def _append(self, fact: ledger.Fact) -> None:
        self._appender.append(self.topics("ledger"), ledger.encode(fact), partition=self.partition)
        self._appender.flush()

    def judge(self, records: Sequence[Record]) -> None:
        """Folds the records and publishes what follows from them; entries before the snapshot are passed over.

        A command waits for nothing that came behind its evidence: to judge a tick of many experiments takes a while.
        """
        self._said = False
        said: list[Output] = []
        touched: dict[str, Cursor] = {}
        for record in records:
            if record.offset <= self._state.offset:
                continue
            self._require_next(record)
            outputs = self._fold(record)
            said += outputs
            for output in outputs:
                if not isinstance(output, LeaseOutput):
                    touched[output.experiment] = self._cursor_at(output.experiment, record.offset, output.ordinal)
            self._folded_since_snapshot += 1
            self._stamp_ms = record.timestamp_ms
            if any(isinstance(output, CommandOutput) for output in outputs):
                self._say(said, touched)
                said, touched = [], {}
        if said:
            self._say(said, touched)
        self._said = True

    def _say(self, said: Sequence[Output], touched: dict[str, Cursor]) -> None:
        outgoing = [self._outgoing(output) for output in _with_newest_lease(said)]
        self._publish([*outgoing, *self._checkpoints(said)], touched)
        _measure(said)

    def _require_next(self, record: Record) -> None:
        """Nothing but deletion leaves gaps in the ledger, and who restores finds them."""
        if record.offset != self._state.offset + 1:
            raise LedgerIncomplete(
                f"partition {self.partition}: behind offset {self._state.offset} the ledger goes on at "
                f"{record.offset}; what stood between them was deleted before it was judged"
            )

    def behind_s(self) -> float:
        """Seconds since the broker took the newest entry that was folded; 0 before the first."""
        return max(0.0, time.time() - self._stamp_ms / 1e3) if self._stamp_ms else 0.0

    def blind_runs(self) -> int:
        return sum(experiment.current.sight.since is not None for experiment in list(self._state.experiments.values()))

    def _fold(self, record: Record) -> list[Output]:
        """Outputs of one entry that were not published before."""
        try:
            entry = Entry(self.partition, record.offset, record.timestamp_ms * 1_000, ledger.decode(record.value))
            outputs = step(self._state, entry, self.topics("control"))
        except WireError as error:
            self._dead_letter(record, error)
            self._state.offset = record.offset
            return []
        if isinstance(entry.fact, AckReceived):
            self._acks.append(entry.fact)
        followed = self._compare(record.offset)
        return [output for output in outputs if not self._published(output, record.offset, followed)]

    def _published(self, output: Output, offset: int, followed: Sequence[str]) -> bool:
        """Or not to be: of one that was followed at this entry, all that there is to say stands there."""
        if isinstance(output, LeaseOutput):
            return False
        if output.experiment in followed or output.experiment in self._left_out:
            return True
        cursor = self._cursors.get(output.experiment)
        return cursor is not None and (offset, output.ordinal) <= (cursor.offset, cursor.ordinal)

    def _compare(self, offset: int) -> list[str]:
        """A fold that reaches what was published must have come to the same conclusions, byte for byte.

        Where another version has published some of it, it need not: there the record stands. Gives the experiments in
        which it was followed.
        """
        followed = []
        for cursor in [cursor for cursor in self._cursors.values() if cursor.offset == offset]:
            state = self._state.experiments.get(cursor.experiment)
            found = (state.number, state.chain) if state else None
            if found != (cursor.number, cursor.chain):
                entries = {} if self._is_all_mine(cursor) else published(self.settings, self.partition)
                if (entry := entries.get(cursor.experiment)) is None:
                    raise ReplayDiverged(
                        f"experiment {cursor.experiment!r}: folding the ledger up to offset {offset} gives journal "
                        f"entry {found}, published was {(cursor.number, cursor.chain)}; judge it with the version "
                        "that wrote it"
                    )
                self._follow(state, cursor, entry)
                followed.append(cursor.experiment)
        return followed

    def _is_all_mine(self, cursor: Cursor) -> bool:
        """Whether this version has published all that was folded again."""
        return cursor.version == self._mine.text and cursor.since <= self._begun.get(cursor.experiment, 0)

    def _follow(self, state: ExperimentState | None, cursor: Cursor, entry: RegistryEntry) -> None:
        """One that this version cannot judge is in no lease, so services give everybody control; nothing is said of it,
        for its journal is another version's to go on with."""
        told = {"experiment": cursor.experiment, "partition": self.partition, "offset": cursor.offset}
        if state is None or not can_judge(entry):
            log.error("this version cannot judge an experiment of another; run the other", **told)
            self._state.experiments.pop(cursor.experiment, None)
            self._left_out.add(cursor.experiment)
            return
        request = follow(state, cursor, entry, self._acks)
        if request is None:
            log.warning("another version judged this in other words; its journal is gone on with", **told)
        else:
            log.error("this version does not come to what another one did; the record stands", **told)
            self._append(request)

    def _cursor_at(self, experiment: str, offset: int, ordinal: int) -> Cursor:
        state, before, mine = self._state.experiments[experiment], self._cursors.get(experiment), self._mine.text
        since = 0 if before is None else before.since if before.version == mine else before.number
        place = (self.partition, offset, ordinal, state.run, state.sequence, state.number, state.chain)
        return Cursor(experiment, *place, mine, since)

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
        if due:
            self._snapshot()

    def snapshot_at_the_end(self) -> None:
        """Of a worker that ends in order: its successor, of whatever version, has nothing to fold again."""
        if self._said:
            self._snapshot()

    def _snapshot(self) -> None:
        if not self._folded_since_snapshot or not self._state.experiments:
            return
        for experiment in self._state.experiments.values():
            settle(experiment)
        topic, before = self.topics("snapshots"), self._largest_parts
        written = write_snapshot(self._appender, topic, self._state, self._generation, self.keys.secret, before)
        log.debug("snapshot", partition=self.partition, offset=self._state.offset, bytes=written.size_bytes)
        self._generation, self._largest_parts = self._generation + 1, max(before, written.parts)
        self._folded_since_snapshot, self._snapshot_at_s = 0, time.monotonic()

    def _dead_letter(self, record: Record, error: WireError) -> None:
        log.warning("ledger entry passed over", partition=self.partition, offset=record.offset, reason=str(error))
        source = Source(self.topics("ledger"), "", self.partition)
        reject = Reject(record.offset, "malformed", str(error), record.value or b"", record.timestamp_ms)
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
                log.info("command", **_named(output.command))


def _named(command: Command) -> dict[str, object]:
    """What a command is found by; why it was issued stands in the journal, for those who may read that."""
    return {
        "experiment": command.experiment,
        "command_id": command.command_id,
        "action": command.action.value,
        "exposure": command.exposure,
        "run": command.run,
        "sequence": command.sequence,
    }


def _with_newest_lease(said: Sequence[Output]) -> list[Output]:
    """Of several leases only the newest says anything: the others stand in a backlog."""
    leases = [output for output in said if isinstance(output, LeaseOutput)]
    return [output for output in said if not isinstance(output, LeaseOutput)] + leases[-1:]

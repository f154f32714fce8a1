"""A Kafka broker in memory, with what bites: stable offsets, hung and aborted transactions, fencing, compaction.

It knows no clients and no chance: clients.py sends to it, world.py decides what goes wrong.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter

Headers = list[tuple[str, bytes | None]]
Place = tuple[str, str, int]
"""Group, topic and partition of which an offset is committed."""
TRANSACTION_TIMEOUT_US = 10_000_000
BOTH_STAND = 2  # records that are never compacted away: the newest ones are in the active segment


class FencedByBroker(Exception):
    """The producer's epoch is over: another has opened the transactional id, or its transaction took too long."""


@dataclass(slots=True, eq=False)
class Transaction:
    """What one producer has sent since it began.

    state  open, committed or aborted
    done   logs in which its marker stands: there it is visible, or aborted, for good
    places offsets of groups that are committed with it
    """

    owner: str
    epoch: int
    began_us: int
    state: str = "open"
    logs: list[Log] = field(default_factory=list)
    done: list[Log] = field(default_factory=list)
    places: dict[Place, tuple[int, str]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Stored:
    """A record of a log, or a marker (no value, no key)."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    transaction: Transaction | None = None
    marker: bool = False


@dataclass(slots=True, eq=False)
class Log:
    """One partition: records in the order of their offsets, with holes where markers and compaction left them."""

    topic: Topic
    partition: int
    records: list[Stored] = field(default_factory=list)
    end: int = 0
    open: dict[Transaction, int] = field(default_factory=dict)

    @property
    def stable_end(self) -> int:
        """The last stable offset: careful readers are shown nothing behind the first record of an open transaction."""
        return min(self.open.values()) if self.open else self.end

    def append(self, record: Stored) -> int:
        record.offset, self.end = self.end, self.end + 1
        self.records.append(record)
        return record.offset

    def has_more(self, offset: int, *, committed: bool) -> bool:
        """Whether anything is to be read from an offset on. Asked before each turn of everybody: found from the end."""
        limit = self.stable_end if committed else self.end
        if offset >= limit:
            return False
        for record in reversed(self.records):
            if record.offset < offset:
                return False
            if record.offset < limit and not record.marker and not (committed and _aborted(record)):
                return True
        return False

    def read(self, offset: int, *, committed: bool, most: int) -> tuple[list[Stored], int]:
        """Up to `most` records from an offset on, and the position behind them; markers are never shown."""
        limit = self.stable_end if committed else self.end
        found: list[Stored] = []
        if offset >= limit:
            return found, offset
        for index in range(bisect_left(self.records, offset, key=attrgetter("offset")), len(self.records)):
            record = self.records[index]
            if record.offset >= limit:
                break
            if not record.marker and not (committed and _aborted(record)):
                found.append(record)
                if len(found) == most:
                    return found, record.offset + 1
        return found, max(offset, limit)

    def compact(self) -> None:
        """Of each key only the last stable record is kept; what an aborted transaction wrote goes as well."""
        stable = self.stable_end
        last = {r.key: r.offset for r in self.records if r.offset < stable and r.key and not _aborted(r)}
        newest = self.end - BOTH_STAND
        self.records = [
            r for r in self.records if r.offset >= min(stable, newest) or (r.key and last.get(r.key) == r.offset)
        ]


def _aborted(record: Stored) -> bool:
    return record.transaction is not None and record.transaction.state == "aborted"


@dataclass(slots=True, eq=False)
class Topic:
    name: str
    uuid: str
    compacts: bool
    largest_bytes: int
    logs: list[Log] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """A consumer group with one member: whoever joined last. What it committed, by topic and partition, and of which
    log."""

    member: object | None = None
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    logs: dict[tuple[str, int], str] = field(default_factory=dict)


@dataclass(slots=True)
class ProducerState:
    epoch: int = 0
    current: Transaction | None = None


@dataclass(slots=True)
class Broker:
    """now_us        what the broker stamps records with, microseconds; it may jump
    passed_us     a clock that only passes
    appended          is told of every record that was appended
    changes       counts what readers may see: records, markers, topics that come and go
    slow_markers  the end of a transaction is answered before its markers are written; `write_markers` writes them later
    """

    now_us: Callable[[], int]
    passed_us: Callable[[], int]
    appended: Callable[[Log, Stored], None] = lambda log, record: None
    slow_markers: bool = False
    topics: dict[str, Topic] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    producers: dict[str, ProducerState] = field(default_factory=dict)
    pending: list[Transaction] = field(default_factory=list)
    offsets: Log = field(default_factory=lambda: Log(Topic("offsets of groups", "", True, 0), 0))
    changes: int = 0
    _uuids: Iterator[int] = field(default_factory=count)

    # ---- topics ------------------------------------------------------------------------------------

    def create(self, name: str, partitions: int, *, compacts: bool = False, largest_bytes: int = 1_048_588) -> Topic:
        topic = Topic(name, f"uuid{next(self._uuids)}", compacts, largest_bytes)
        topic.logs = [Log(topic, number) for number in range(partitions)]
        self.topics[name] = topic
        self.changes += 1
        return topic

    def delete(self, name: str) -> Topic:
        """What groups had committed in it goes with it, as on the real broker."""
        self.changes += 1
        for group in self.groups.values():
            group.committed = {at: offset for at, offset in group.committed.items() if at[0] != name}
        return self.topics.pop(name)

    def group(self, name: str) -> Group:
        return self.groups.setdefault(name, Group())

    def append(self, log: Log, key: bytes | None, value: bytes | None, headers: Headers, timestamp_ms: int = 0) -> int:
        """timestamp_ms: of the sender; 0: it has none, and the broker stamps the record."""
        record = Stored(0, key, value, headers, timestamp_ms or self.now_us() // 1_000)
        offset = log.append(record)
        self.changes += 1
        self.appended(log, record)
        return offset

    # ---- transactions ------------------------------------------------------------------------------

    def open_producer(self, owner: str) -> int:
        """A new epoch; whoever had the one before is fenced, and what it had not committed is aborted."""
        state = self.producers.setdefault(owner, ProducerState())
        if state.current is not None:
            self._finish(state.current)
        state.epoch, state.current = state.epoch + 1, None
        return state.epoch

    def append_in_transaction(
        self,
        owner: str,
        epoch: int,
        log: Log,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int = 0,
    ) -> int:
        transaction = self._transaction(owner, epoch)
        record = Stored(0, key, value, headers, timestamp_ms or self.now_us() // 1_000, transaction)
        log.open.setdefault(transaction, log.end)
        if log not in transaction.logs:
            transaction.logs.append(log)
        offset = log.append(record)
        self.changes += 1
        self.appended(log, record)
        return offset

    def commit_in_transaction(self, owner: str, epoch: int, place: Place, offset: int, log: str) -> None:
        """A group's offset, of that log, that holds once the transaction is committed, and its marker written."""
        self.append_in_transaction(owner, epoch, self.offsets, repr(place).encode(), b"%d" % offset, [])
        self._transaction(owner, epoch).places[place] = offset, log

    def is_moving(self, place: Place) -> bool:
        """Whether a transaction that is not over is about to move a group's offset."""
        return any(place in transaction.places for transaction in self.offsets.open)

    def _transaction(self, owner: str, epoch: int) -> Transaction:
        state = self._checked(owner, epoch)
        if state.current is not None and state.current.state != "open":
            self._finish(state.current)
            state.current = None
        if state.current is None:
            state.current = Transaction(owner, epoch, self.passed_us())
        return state.current

    def _checked(self, owner: str, epoch: int) -> ProducerState:
        state = self.producers[owner]
        if state.epoch != epoch:
            raise FencedByBroker(owner)
        return state

    def end_transaction(self, owner: str, epoch: int, *, commit: bool) -> None:
        """Decided at once; the markers may follow later. A repetition changes nothing."""
        transaction = self._checked(owner, epoch).current
        if transaction is None or transaction.state != "open":
            return
        transaction.state = "committed" if commit else "aborted"
        if self.slow_markers:
            self.pending.append(transaction)
        else:
            self._finish(transaction)

    def write_marker(self, transaction: Transaction, log: Log) -> None:
        """One marker: from here on the transaction is over in this log."""
        log.append(Stored(0, None, None, [], self.now_us() // 1_000, transaction, marker=True))
        log.open.pop(transaction, None)
        self.changes += 1
        transaction.done.append(log)
        if log is self.offsets and transaction.state == "committed":
            for (name, topic, partition), (offset, uuid) in transaction.places.items():
                group = self.group(name)
                group.committed[topic, partition], group.logs[topic, partition] = offset, uuid
        if len(transaction.done) == len(transaction.logs) and transaction in self.pending:
            self.pending.remove(transaction)

    def _finish(self, transaction: Transaction) -> None:
        """Writes the markers that are missing; a transaction that nobody has ended is aborted."""
        transaction.state = "aborted" if transaction.state == "open" else transaction.state
        for log in transaction.logs:
            if log not in transaction.done:
                self.write_marker(transaction, log)

    def expire_transactions(self) -> None:
        """Those that are open for too long are aborted, and their producers are fenced."""
        for state in self.producers.values():
            late = state.current is not None and state.current.state == "open"
            if late and state.current and self.passed_us() - state.current.began_us > TRANSACTION_TIMEOUT_US:
                self._finish(state.current)
                state.epoch, state.current = state.epoch + 1, None

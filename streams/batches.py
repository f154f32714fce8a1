"""Which batches of a partition this worker was given, and how far it is done with them. No Kafka in here.

The commit rule:  the offset after the longest unbroken run of *completed* batches, counted from where this
worker took the partition over. Faust's own acks play no part: Faust acks an event whose agent raised.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from confluent_kafka import Message
from faust.types import TP

from stoploss.errors import StoplossError
from stoploss.ledger import Source

RECORD_OVERHEAD_BYTES = 500  # what a record costs in memory beside its value, about


class Mark(NamedTuple):
    """How far a partition is done, as it is committed.

    log  UUID of the topic that was read, "" unknown: one that is made again under its name is another log
    """

    offset: int
    log: str


def counts_for(log: str, metadata: str | None) -> bool:
    """Whether an offset that was committed with this metadata is of a log. One without a name is: a version before has
    committed it, or a person. librdkafka writes none as NUL.

    A commit that was on its way while the topic was made again would have a successor begin behind what nobody has
    read.
    """
    return (metadata or "").strip("\0") in ("", log)


class Unread(NamedTuple):
    """What of a partition is not handed over yet.

    records  up to the log's end, markers of transactions too
    for_s    for how long the oldest of them may have waited, seconds; 0 where nothing but a marker is left
    """

    records: int
    for_s: float


class StaleBatch(StoplossError):
    """The batch is no longer this worker's: drop it, whoever owns the partition now is given it again."""


class BatchMisuse(StoplossError):
    """An agent broke the contract: it began a batch out of turn, or completed one that it never began."""


class Record(NamedTuple):
    """One record of a topic; timestamp_ms as the topic stamps it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]

    @classmethod
    def of(cls, message: Message) -> Record:
        headers = cast(list[tuple[str, bytes | None]], message.headers() or [])
        return cls(
            message.topic() or "",
            message.partition() or 0,
            message.offset() or 0,
            message.timestamp()[1],
            message.key(),
            message.value(),
            [(name, content or b"") for name, content in headers],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The records of one fetch from one partition, in offset order; at least one.

    messages    as they were read; whoever has many of them takes values and stamps and makes no records
    generation  which take-over of the partition it belongs to; rises each time this process starts one anew
    log         UUID of the topic as it stands now: one that is made again under its name has another
    """

    tp: TP
    messages: Sequence[Message]
    generation: int
    log: str = ""

    @property
    def source(self) -> Source:
        return Source(self.tp.topic, self.log, self.tp.partition)

    @property
    def records(self) -> list[Record]:
        return [Record.of(message) for message in self.messages]

    @property
    def first(self) -> int:
        """Offset of the first record."""
        return offset_of(self.messages[0])

    @property
    def last(self) -> int:
        """Offset of the last record. Offsets between may be missing: commit markers, compaction."""
        return offset_of(self.messages[-1])

    def __len__(self) -> int:
        return len(self.messages)

    def __str__(self) -> str:
        return f"{self.tp.topic}-{self.tp.partition} offsets {self.first} to {self.last}"


def offset_of(message: Message) -> int:
    """Each message that was read has one; the type of Message is that of messages yet to be sent as well."""
    return message.offset() or 0


@dataclass(slots=True)
class _Delivered:
    """A batch that was handed to an agent; without its records, which the agent may let go."""

    first: int
    end: int  # the offset after its last record
    size_bytes: int
    at_s: float
    begun: bool = False
    done: bool = False


@dataclass(slots=True, eq=False)
class Partition:
    """This worker's book of one partition, from the moment it takes it over until it loses it.

    next_offset  the next offset to be read; None until the start is known
    committed    what the group has committed, as far as this worker knows; None: nothing
    seek_due     the reader's position must be set to next_offset before the next fetch
    fenced       nothing that was delivered counts any more; the partition is to be started anew
    read_ms      the topic's stamp of the last record that was read, or when the partition was taken over
    alive_at_s   when whoever restores it or works on it has last said that it gets on, or whom it waits for
    """

    tp: TP
    generation: int
    taken_at_s: float
    next_offset: int | None = None
    committed: int | None = None
    seek_due: bool = True
    log: str = ""
    fenced: bool = False
    read_ms: int = field(default_factory=lambda: int(time.time() * 1_000))
    alive_at_s: float = 0.0
    outstanding_bytes: int = 0
    _completed_to: int | None = None
    _progress_at_s: float = 0.0
    _delivered: dict[int, _Delivered] = field(default_factory=dict)  # by first offset, oldest first
    _waiting: deque[_Delivered] = field(default_factory=deque)  # those that are not begun

    @property
    def started(self) -> bool:
        """It is known where to read on, and what is read counts."""
        return self.next_offset is not None and not self.fenced

    def start(self, at: int, committed: int | None, *, claim: bool, log: str = "") -> None:
        """Begin reading a log at an offset. With claim it is committed too: a lost last commit is made good."""
        self.next_offset, self.log = at, log
        self.committed = committed
        self._completed_to = at if claim else None

    def deliver(self, messages: Sequence[Message], now_s: float) -> Batch:
        batch = Batch(self.tp, messages, self.generation, self.log)
        size_bytes = sum(map(len, messages)) + RECORD_OVERHEAD_BYTES * len(messages)
        delivered = _Delivered(batch.first, batch.last + 1, size_bytes, now_s)
        self._delivered[batch.first] = delivered
        self._waiting.append(delivered)
        self.outstanding_bytes += size_bytes
        self.next_offset, self.read_ms = batch.last + 1, messages[-1].timestamp()[1]
        self.seek_due = False
        return batch

    def unread(self, end: int, now_s: float) -> Unread:
        """Up to the end of the log. A transaction leaves a marker there, which is never handed over."""
        records = max(0, end - (self.next_offset or 0))
        return Unread(records, max(0.0, now_s - self.read_ms / 1e3) if records > 1 else 0.0)

    def begin(self, batch: Batch) -> None:
        """Raises BatchMisuse when an older batch was not begun, or this one is already complete."""
        delivered = self._delivered.get(batch.first)
        if delivered is None:
            raise BatchMisuse(f"{batch} was begun after it was completed")
        if delivered.begun:
            return
        oldest = self._waiting[0]
        if oldest is not delivered:
            raise BatchMisuse(f"{batch} was begun before the one at offset {oldest.first}, which is older")
        self._waiting.popleft()
        delivered.begun = True

    def complete(self, batch: Batch, now_s: float) -> None:
        """Raises BatchMisuse when the batch was never begun, or is already complete."""
        delivered = self._delivered.get(batch.first)
        if delivered is None or delivered.done or not delivered.begun:
            state = "already complete" if delivered is None or delivered.done else "not begun"
            raise BatchMisuse(f"{batch} cannot be completed: it is {state}")
        delivered.done = True
        self._progress_at_s = now_s
        self.outstanding_bytes -= delivered.size_bytes
        while (oldest := self._oldest) is not None and oldest.done:
            self._completed_to = self._delivered.pop(oldest.first).end

    @property
    def _oldest(self) -> _Delivered | None:
        return next(iter(self._delivered.values()), None)

    @property
    def done_to(self) -> int:
        """Whatever stands before this offset is complete. Only of a partition that is started."""
        oldest = self._oldest
        return cast(int, self.next_offset) if oldest is None else oldest.first

    @property
    def commit_due(self) -> Mark | None:
        """What to commit now; None when there is nothing new to say."""
        if self.fenced or self._completed_to is None or self._completed_to == self.committed:
            return None
        return Mark(self._completed_to, self.log)

    @property
    def working(self) -> bool:
        """An agent is at work on a batch of this partition."""
        return not self.fenced and any(d.begun and not d.done for d in self._delivered.values())

    @property
    def oldest_outstanding(self) -> tuple[int, float] | None:
        """First offset of the oldest batch that is not complete, and since when nothing has been completed."""
        if (oldest := self._oldest) is None:
            return None
        return oldest.first, max(oldest.at_s, self._progress_at_s)

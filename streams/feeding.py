"""From a source topic into the ledger: what intake and joiner have in common.

Rows wait a moment, so that the judge is not given a block per trace: the dearer this machine finds a small batch, the
longer, for at a few thousand traces a second a read per fetch would take a whole core. A tripped gate flushes what
waits at once, itself last, since order is what makes watermarks exact. Reading goes on beside publishing, which is
waiting for the brokers for the most part.

A batch is complete once its rows, its clean frame and its dead letters are on the brokers. A failed delivery ends the
worker, so a source's rows are in the ledger in order and without gaps, and what is repeated the judge trims.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import polars as pl
import structlog
from faust.types import TP

from stoploss import ledger
from stoploss.intake import dead_letters
from stoploss.intake.canaries import canaries
from stoploss.intake.results import Fetched, IntakeResult
from stoploss.intake.rows import ProjectedRows, build_blocks, concatenate
from stoploss.intake.tallies import bounded
from stoploss.intake.watched import Watched
from stoploss.ledger import Source, SourceStatus
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.store.arrow import CleanKind, clean_to_bytes
from streams.app import App, build_app
from streams.appender import Appender
from streams.batches import Batch, offset_of
from streams.gathering import Gathering
from streams.measuring import DEAD_LETTERS, UNREGISTERED
from streams.pace import Pace
from streams.registry_view import RegistryView
from streams.source_status import STATUS_EVERY_S, Totals, tell
from streams.transport import consumer_of

T = TypeVar("T")
log = structlog.get_logger("stoploss.intake")

WAIT_S = 0.02
SHORTEST_REST_S, LONGEST_REST_S = 0.002, 0.1
LOOK_EVERY_S = 0.005  # while what was read waits to be published: a gate may have been tripped meanwhile
ENOUGH_RECORDS = 2_000
"""So many make a block whose cost is its rows': to wait for more would save nothing."""
CLEAN_BYTES, CLEAN_ROWS = 700_000, 2_000


class Process(Protocol):
    """intake.pipeline.read_traces or read_outcomes."""

    def __call__(
        self, fetched: Sequence[Fetched], watched: Mapping[str, Watched], *, salt: bytes, now_micros: int
    ) -> list[IntakeResult]: ...


@dataclass(frozen=True, slots=True)
class Read:
    """Batches of one partition, and what they became together."""

    batches: Sequence[Batch]
    result: IntakeResult

    @property
    def records(self) -> int:
        return sum(map(len, self.batches))


class Feeder:
    """One role that feeds the ledger from its source topics.

    sources  what is made of the records of each topic
    """

    def __init__(
        self, settings: Settings, role: str, sources: Mapping[str, Process], kind: CleanKind, salt: bytes
    ) -> None:
        self.settings, self.topics, self.role, self.kind = settings, settings.topics, role, kind
        self._processes = {self.topics(name): process for name, process in sources.items()}
        self._salt = salt
        bootstrap = settings.need_kafka()
        self._appender = Appender(bootstrap)
        self._registry = RegistryView(bootstrap, self.topics("registry")).start()
        self._canaries = canaries(range(settings.ledger_partitions))
        self._watched: dict[str, Watched] = {}
        self._watched_version = -1
        self._gathering = Gathering[Batch](lambda: self.app, "reading", self._read_gathered)
        self._outgoing = Gathering[Read](lambda: self.app, "feeding the ledger", self._publish_gathered)
        self._reads, self._publications = Pace(LONGEST_REST_S), Pace(LONGEST_REST_S)
        self._totals: dict[TP, Totals] = {}
        self._unknown: dict[str, int] = {}
        self._thread, self._reader = ThreadPoolExecutor(1, role), ThreadPoolExecutor(1, f"{role}-reads")
        self.app: App = build_app(settings, role, dict.fromkeys(sources, self.handle), restore=self._taken_over)
        self.app.timer(STATUS_EVERY_S, name=f"streams.{role}.status")(self.status)

    async def _taken_over(self, tp: TP) -> None:
        """A partition begins anew at the group's offset: what waited of it is no longer ours."""
        self._totals.pop(tp, None)
        self._gathering.drop(lambda batch: batch.tp == tp)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    # ---- batches -------------------------------------------------------------------------------

    async def handle(self, batch: Batch) -> None:
        self._gathering.put(batch)

    async def _read_gathered(self, batches: Sequence[Batch]) -> None:
        """Reads what has gathered, once the read before it has rested."""
        if (rest_s := self._reads.rest_s(SHORTEST_REST_S)) > 0:
            await asyncio.sleep(rest_s)
            batches = [*batches, *self._gathering.take()]
        with self._reads:
            read = await asyncio.get_running_loop().run_in_executor(self._reader, lambda: self._read(batches))
        for part in read:
            self._outgoing.put(part)

    async def _publish_gathered(self, read: Sequence[Read]) -> None:
        """Publishes what was read, and what is read while it may wait, and completes it."""
        read = list(read)
        while not _is_urgent(read) and (rest_s := self._publications.rest_s(WAIT_S)) > 0:
            await asyncio.sleep(min(rest_s, LOOK_EVERY_S))
            read += self._outgoing.take()
        consumer = consumer_of(self.app)
        ours = [part for part in read if consumer.owns(part.batches[0])]
        with self._publications:
            await self._in_thread(lambda: self._publish(ours))
        for part in ours:
            self._complete(part)

    def _complete(self, part: Read) -> None:
        done = [consumer_of(self.app).complete(batch) for batch in part.batches]
        if all(done):
            first, last = part.batches[0], part.batches[-1]
            self._totals.setdefault(first.tp, Totals(first.first)).add(part.result.counts, last.last + 1)
            self._alarm(part.result.counts.unknown_experiment)

    def _alarm(self, unknown: Mapping[str, int]) -> None:
        """Says which experiments nobody registered, and again whenever their traces have doubled: none of them has a
        guardrail, and nobody can stop it."""
        before = self._unknown
        self._unknown = bounded([*before.items(), *unknown.items()])
        for name, traces in self._unknown.items():
            UNREGISTERED.labels(name).inc(traces - before.get(name, 0))
            if traces.bit_length() > before.get(name, 0).bit_length():
                log.warning("traces of an experiment that is not registered", experiment=name, traces=traces)

    def _read(self, batches: Sequence[Batch]) -> list[Read]:
        """Batches of one partition and take-over as one, in order; those of one topic are read together."""
        parts: dict[tuple[TP, int], list[Batch]] = defaultdict(list)
        for batch in batches:
            parts[batch.tp, batch.generation].append(batch)
        topics: dict[str, list[list[Batch]]] = defaultdict(list)
        for (tp, _), part in parts.items():
            topics[tp.topic].append(part)
        return [read for topic, of_topic in topics.items() for read in self._read_topic(topic, of_topic)]

    def _read_topic(self, topic: str, parts: Sequence[Sequence[Batch]]) -> list[Read]:
        now_micros = time.time_ns() // 1_000
        fetched = [self._fetched(part) for part in parts]
        results = self._processes[topic](fetched, self._watch(), salt=self._salt, now_micros=now_micros)
        return [Read(part, result) for part, result in zip(parts, results, strict=True)]

    def _fetched(self, batches: Sequence[Batch]) -> Fetched:
        messages = [message for batch in batches for message in batch.messages]
        return Fetched(
            batches[0].source,
            [offset_of(message) for message in messages],
            [message.value() for message in messages],
            [message.timestamp()[1] for message in messages],
        )

    def _watch(self) -> dict[str, Watched]:
        """The experiments of the registry, projected by the spec in force, and the canaries."""
        version = self._registry.version
        if version != self._watched_version:
            known = self._watched
            registered = {entry.experiment: _watched(entry, known) for entry in self._registry.entries()}
            self._watched = {**self._canaries, **registered}
            self._watched_version = version
        return self._watched

    def _publish(self, read: Sequence[Read]) -> None:
        for rows in _gathered(part.result for part in read):
            partition = self._watched[rows.experiment].partition
            for block in build_blocks(rows):
                self._appender.append(
                    self.topics("ledger"), ledger.encode(block), key=ledger.key_of(block), partition=partition
                )
        for frame in _frames([part.result.clean for part in read]):
            for value in _clean_values(frame, self.kind):
                self._appender.append(self.topics("traces_clean"), value)
        for part in read:
            self._refuse(part)
        self._appender.flush()

    def _refuse(self, part: Read) -> None:
        source = part.batches[0].source
        for reject in part.result.rejects:
            DEAD_LETTERS.labels(self.role, reject.code).inc()
            letter = dead_letters.dead_letter(reject, source, self.role)
            self._appender.append(self.topics("deadletter"), dead_letters.encode(letter), key=source.topic.encode())

    # ---- status --------------------------------------------------------------------------------

    async def status(self) -> None:
        """Says on every ledger partition that has an experiment how far each owned source partition is stored."""
        sources, progress = consumer_of(self.app).sources(), consumer_of(self.app).progress()
        statuses = [self._status(sources[tp], *progress[tp]) for tp in sorted(sources.keys() & progress.keys())]
        partitions = {entry.partition for entry in self._registry.entries()}
        if statuses and partitions:
            await self._in_thread(lambda: tell(self._appender, self.topics("ledger"), statuses, partitions))

    def _status(self, source: Source, position: int, end: int | None) -> SourceStatus:
        totals = self._totals.setdefault(TP(source.topic, source.partition), Totals(position))
        return totals.status(source, position if end is None else end)


def _is_urgent(read: Sequence[Read]) -> bool:
    """Whether a gate was tripped, or so much has come that waiting for more would save nothing."""
    return any(part.result.tripped_gate for part in read) or sum(part.records for part in read) >= ENOUGH_RECORDS


def _watched(entry: RegistryEntry, known: Mapping[str, Watched]) -> Watched:
    """The plan of a registry entry; made anew only where the spec changed."""
    before = known.get(entry.experiment)
    unchanged = before is not None and (before.spec_hash, before.partition) == (entry.spec_hash, entry.partition)
    return before if before is not None and unchanged else Watched.from_entry(entry)


def _frames(parts: Iterable[pl.DataFrame]) -> list[pl.DataFrame]:
    """Rows together, for each record of its own costs milliseconds; about as many as fit into one."""
    some = [part for part in parts if part.height]
    if not some:
        return []
    whole = some[0] if len(some) == 1 else pl.concat(some)
    return [whole[start : start + CLEAN_ROWS] for start in range(0, whole.height, CLEAN_ROWS)]


def _clean_values(clean: pl.DataFrame, kind: CleanKind) -> Iterator[bytes]:
    """The frame as Arrow, cut until each piece fits into a record."""
    if not clean.height:
        return
    value = clean_to_bytes(clean, kind)
    if len(value) <= CLEAN_BYTES or clean.height == 1:
        yield value
        return
    rows = max(1, clean.height * CLEAN_BYTES // (len(value) + len(value) // 4))
    for start in range(0, clean.height, rows):
        yield from _clean_values(clean[start : start + rows], kind)


def _gathered(results: Iterable[IntakeResult]) -> list[ProjectedRows]:
    """Rows of equal key together, in the order in which they were read."""
    by_key: dict[tuple[str, str, bool], list[ProjectedRows]] = defaultdict(list)
    for result in results:
        for rows in result.rows.values():
            by_key[rows.key].append(rows)
    return [concatenate(parts) for parts in by_key.values()]

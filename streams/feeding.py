"""From a source topic into the ledger: what intake and joiner have in common.

Rows wait a moment, so that the judge is not given a block per trace; a tripped gate flushes what waits at once, itself
last, since order is what makes watermarks exact.

A batch is complete once its rows, its clean frame and its dead letters are on the brokers. A failed delivery ends the
worker, so a source's rows are in the ledger in order and without gaps, and what is repeated the judge trims.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from faust.types import TP

from stoploss import ledger
from stoploss.intake import dead_letters
from stoploss.intake.results import Counts, IntakeResult, RawRecord
from stoploss.intake.rows import ProjectedRows, build_blocks, concatenate
from stoploss.intake.watched import Watched
from stoploss.ledger import RejectCount, Source, SourceStatus
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.store.arrow import CleanKind, clean_to_bytes
from streams.admin import Admin
from streams.app import App, build_app
from streams.appender import Appender
from streams.batches import Batch
from streams.registry_view import RegistryView
from streams.transport import consumer_of

log = structlog.get_logger("stoploss.intake")

WAIT_S = 0.02
ROWS_AT_ONCE = 5_000
STATUS_EVERY_S = 1.0


class Process(Protocol):
    """intake.pipeline.process_traces or process_outcomes."""

    def __call__(
        self,
        records: Sequence[RawRecord],
        source: Source,
        watched: Mapping[str, Watched],
        *,
        salt: bytes,
        now_micros: int,
    ) -> IntakeResult: ...


@dataclass(slots=True)
class Totals:
    """Counts of one source partition since this worker took it over; `done` is the next offset that is not stored."""

    done: int
    valid: int = 0
    rejected: int = 0
    unassigned: int = 0
    unknown: int = 0
    by_variant: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, counts: Counts, done: int) -> None:
        self.done = done
        self.valid += counts.valid
        self.rejected += counts.rejected
        self.unassigned += counts.unassigned
        self.unknown += sum(counts.unknown_experiment.values())
        for reject in counts.rejected_by_variant:
            self.by_variant[reject.experiment, reject.variant] += reject.count


class Feeder:
    """One role that feeds the ledger from one source topic."""

    def __init__(
        self, settings: Settings, role: str, topic: str, kind: CleanKind, process: Process, salt: bytes
    ) -> None:
        self.settings, self.topics, self.role, self.kind = settings, settings.topics, role, kind
        self._process, self._salt = process, salt
        bootstrap = settings.need_kafka()
        self._appender = Appender(bootstrap)
        self._registry = RegistryView(bootstrap, self.topics("registry")).start()
        self._uuid = Admin(bootstrap).uuids([self.topics(topic)])[self.topics(topic)]
        self._watched: dict[str, Watched] = {}
        self._watched_version = -1
        self._pending: list[tuple[Batch, IntakeResult]] = []
        self._pending_rows = 0
        self._flushed_at_s = 0.0
        self._flushing = asyncio.Lock()
        self._wake: asyncio.Task[None] | None = None
        self._totals: dict[TP, Totals] = {}
        self._thread = ThreadPoolExecutor(1, role)
        self.app: App = build_app(settings, role, {topic: self.handle}, restore=self._taken_over)
        self.app.timer(STATUS_EVERY_S, name=f"streams.{role}.status")(self.status)

    async def _taken_over(self, tp: TP) -> None:
        """A partition begins anew at the group's offset: what waited of it is no longer ours."""
        self._totals.pop(tp, None)
        self._pending = [(batch, result) for batch, result in self._pending if batch.tp != tp]

    async def _in_thread(self, call: Callable[[], IntakeResult | None]) -> IntakeResult | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    # ---- batches -------------------------------------------------------------------------------

    async def handle(self, batch: Batch) -> None:
        result = await self._in_thread(lambda: self._read(batch))
        assert result is not None
        self._pending.append((batch, result))
        self._pending_rows += len(batch)
        waited = time.monotonic() - self._flushed_at_s >= WAIT_S
        if waited or result.tripped_gate or self._pending_rows >= ROWS_AT_ONCE:
            await self.flush()
        elif self._wake is None or self._wake.done():
            self._wake = asyncio.ensure_future(self._flush_later())

    def _read(self, batch: Batch) -> IntakeResult:
        records = [RawRecord(record.offset, record.value, record.timestamp) for record in batch.records]
        source = self._source(batch.tp)
        now_micros = time.time_ns() // 1_000
        return self._process(records, source, self._watch(), salt=self._salt, now_micros=now_micros)

    def _source(self, tp: TP) -> Source:
        return Source(tp.topic, self._uuid, tp.partition)

    def _watch(self) -> dict[str, Watched]:
        """The experiments of the registry, projected by the spec in force."""
        version = self._registry.version
        if version != self._watched_version:
            known = self._watched
            self._watched = {entry.experiment: _watched(entry, known) for entry in self._registry.entries()}
            self._watched_version = version
        return self._watched

    async def _flush_later(self) -> None:
        """Runs beside the agent: what goes wrong here ends the worker all the same."""
        await asyncio.sleep(WAIT_S)
        try:
            await self.flush()
        except Exception as error:
            consumer_of(self.app).fail(f"feeding the ledger failed: {error}", error)
            raise

    async def flush(self) -> None:
        """Publishes everything that waits and completes its batches; those that are no longer ours are dropped."""
        async with self._flushing:
            pending, self._pending, self._pending_rows = self._pending, [], 0
            consumer = consumer_of(self.app)
            ours = [(batch, result) for batch, result in pending if consumer.owns(batch)]
            if ours:
                await self._in_thread(lambda: self._publish(ours))
            self._flushed_at_s = time.monotonic()
            for batch, result in ours:
                if consumer.complete(batch):
                    self._totals.setdefault(batch.tp, Totals(batch.first)).add(result.counts, batch.last + 1)

    def _publish(self, pending: Sequence[tuple[Batch, IntakeResult]]) -> None:
        for rows in _gathered(result for _, result in pending):
            partition = self._watched[rows.experiment].partition
            for block in build_blocks(rows):
                self._appender.append(
                    self.topics("ledger"), ledger.encode(block), key=ledger.key_of(block), partition=partition
                )
        for batch, result in pending:
            self._store(batch, result)
        self._appender.flush()

    def _store(self, batch: Batch, result: IntakeResult) -> None:
        if result.clean.height:
            self._appender.append(self.topics("traces_clean"), clean_to_bytes(result.clean, self.kind))
        source = self._source(batch.tp)
        for reject in result.rejects:
            letter = dead_letters.dead_letter(reject, source, self.role)
            self._appender.append(self.topics("deadletter"), dead_letters.encode(letter), key=batch.tp.topic.encode())

    # ---- status --------------------------------------------------------------------------------

    async def status(self) -> None:
        """Says on every ledger partition that has an experiment how far each owned source partition is stored."""
        statuses = [self._status(tp, position, end) for tp, (position, end) in consumer_of(self.app).progress().items()]
        partitions = {entry.partition for entry in self._registry.entries()}
        if statuses and partitions:
            await self._in_thread(lambda: self._tell(statuses, partitions))

    def _status(self, tp: TP, position: int, end: int | None) -> SourceStatus:
        totals = self._totals.setdefault(tp, Totals(position))
        return SourceStatus(
            source=self._source(tp),
            offset=totals.done,
            lag=max(0, (end if end is not None else position) - totals.done),
            valid=totals.valid,
            rejected=totals.rejected,
            unassigned=totals.unassigned,
            unknown_experiment=totals.unknown,
            rejected_by_variant=tuple(RejectCount(*key, count) for key, count in sorted(totals.by_variant.items())),
            at=time.time_ns() // 1_000,
        )

    def _tell(self, statuses: Sequence[SourceStatus], partitions: set[int]) -> None:
        for partition in sorted(partitions):
            for status in statuses:
                self._appender.append(self.topics("ledger"), ledger.encode(status), partition=partition)
        self._appender.flush()


def _watched(entry: RegistryEntry, known: Mapping[str, Watched]) -> Watched:
    """The plan of a registry entry; made anew only where the spec changed."""
    before = known.get(entry.experiment)
    unchanged = before is not None and (before.spec_hash, before.partition) == (entry.spec_hash, entry.partition)
    return before if before is not None and unchanged else Watched.from_entry(entry)


def _gathered(results: Iterable[IntakeResult]) -> list[ProjectedRows]:
    """Rows of equal key together, in the order in which they were read."""
    by_key: dict[tuple[str, str, bool], list[ProjectedRows]] = defaultdict(list)
    for result in results:
        for rows in result.rows.values():
            by_key[rows.key].append(rows)
    return [concatenate(parts) for parts in by_key.values()]

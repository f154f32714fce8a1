"""Otlp: what an OpenTelemetry Collector writes, to `traces` and `outcomes`, where intake and joiner read it as others.

A batch is complete once nothing of it waits for other spans and what was made of it is on the brokers. After a crash
the rest is read again, and some traces are made twice: intake drops them by their ids. A trace of which one part was
complete and another not is then made of that other part alone, and is a dead letter beside the one that stands.

What cannot be read is a dead letter without its bytes: nobody can tell whether they belong to an experiment (P4).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog
from faust.types import TP

from stoploss.errors import MalformedRecord
from stoploss.intake import dead_letters, segments
from stoploss.intake.dead_letters import Reject
from stoploss.intake.tallies import bounded
from stoploss.ledger import Source, SourceStatus
from stoploss.otlp.assembly import LOGGED_S, Assembly, Released
from stoploss.otlp.assigning import Flags
from stoploss.otlp.flags import flags_of
from stoploss.otlp.prices import PriceTable
from stoploss.otlp.translating import LOGS, SPANS, Translator, made
from stoploss.settings import Settings
from streams.app import App, build_app
from streams.appender import Appender
from streams.batches import Batch, Record
from streams.gathering import Gathering
from streams.measuring import DEAD_LETTERS, OTLP, UNPRICED
from streams.member import Limits
from streams.reading import whole
from streams.registry_view import RegistryView
from streams.source_status import STATUS_EVERY_S, Totals, tell
from streams.transport import consumer_of

T = TypeVar("T")
log = structlog.get_logger("stoploss.otlp")

ROLE = "otlp"
EXPIRE_EVERY_S = 0.25
LIMITS = Limits(outstanding_bytes_max=64 * 1024 * 1024, drain_timeout_s=0.5)
"""What waits is delivered and not complete, and a rebalance need not wait for it: whoever comes next reads it again."""

Tick = None
"""Stands between batches where nothing but time has passed."""


@dataclass(slots=True)
class Work:
    """What a few batches and the time that has passed gave."""

    released: Released = field(default_factory=Released)
    letters: list[bytes] = field(default_factory=list)

    def add(self, more: Released) -> None:
        self.released.traces += more.traces
        self.released.outcomes += more.outcomes
        self.released.counts += more.counts
        self.released.unpriced += more.unpriced


class Collected:
    """Everything of the two topics that this worker owns, assembled in one place."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.topics = settings, settings.topics
        bootstrap = settings.need_kafka()
        prices = PriceTable.load(settings.prices) if settings.prices else PriceTable.empty()
        configured = Flags(configured=settings.otlp_assignments)
        assembly = Assembly(configured, prices, grace_s=settings.otlp_grace_s)
        self._translator = Translator(assembly, tuple(settings.otlp_attributes))
        self._appender = Appender(bootstrap)
        self._registry = RegistryView(bootstrap, self.topics("registry")).start()
        self._registry_version = -1
        self._names = {self.topics(name): name for name in (SPANS, LOGS)}
        self._open: list[Batch] = []
        self._totals: dict[TP, Totals] = {}
        self._unpriced: dict[str, int] = {}
        self._thread = ThreadPoolExecutor(1, ROLE)
        self._gathering = Gathering[Batch | None](lambda: self.app, "assembling traces", self._work)
        self.app: App = build_app(
            settings, ROLE, {SPANS: self.handle, LOGS: self.handle}, restore=self._taken_over, limits=LIMITS
        )
        self.app.timer(EXPIRE_EVERY_S, name=f"streams.{ROLE}.expire")(self.expire)
        self.app.timer(STATUS_EVERY_S, name=f"streams.{ROLE}.status")(self.status)

    @property
    def assembly(self) -> Assembly:
        return self._translator.assembly

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _taken_over(self, tp: TP) -> None:
        """A partition begins anew at the group's offset. The flags that were evaluated before it are read again: the
        spans of their requests may be yet to come."""
        self._gathering.drop(lambda batch: batch is not None and batch.tp == tp)
        self._totals.pop(tp, None)
        if self._names[tp.topic] == LOGS:
            await self._in_thread(lambda: self._remember_flags(tp))

    def _remember_flags(self, tp: TP) -> None:
        self._watch()
        since_ms = int((time.time() - LOGGED_S) * 1_000)
        now_s = time.monotonic()
        for message in whole(self.settings.need_kafka(), tp.topic, tp.partition, since_ms=since_ms):
            try:
                events = self._translator.read_logs(message.value())
            except MalformedRecord:
                continue  # a dead letter already, or soon
            for event in events:
                self.assembly.remember(event, now_s)

    # ---- batches -------------------------------------------------------------------------------

    async def handle(self, batch: Batch) -> None:
        self._gathering.put(batch)

    async def expire(self) -> None:
        if self._open:
            self._gathering.put(Tick)

    async def _work(self, batches: Sequence[Batch | None]) -> None:
        """Reads what has gathered, lets go what has waited long enough, publishes it, completes what is done."""
        self._open += [batch for batch in batches if batch is not None]
        lost = [batch for batch in self._open if not consumer_of(self.app).owns(batch)]
        work = await self._in_thread(lambda: self._assemble(batches, lost))
        await self._in_thread(lambda: self._publish(work))
        done = [batch for batch in self._open if not self.assembly.holds(_key(batch))]
        self._open = [batch for batch in self._open if batch not in done]
        for batch in done:
            consumer_of(self.app).complete(batch)
        self._count(work.released)

    def _assemble(self, batches: Sequence[Batch | None], lost: Sequence[Batch]) -> Work:
        """lost: of partitions that are somebody else's now, who reads them again."""
        self._watch()
        for batch in lost:
            self.assembly.forget(_key(batch))
        work, now_s = Work(), time.monotonic()
        for fresh in batches:
            if fresh is not None and fresh not in lost:
                self._read(fresh, work, now_s)
        work.add(self.assembly.expire(now_s))
        return work

    def _read(self, batch: Batch, work: Work, now_s: float) -> None:
        topic, totals = self._names[batch.tp.topic], self._totals.setdefault(batch.tp, Totals(batch.first))
        for record in batch.records:
            try:
                released = self._translator.take(topic, record.value, _key(batch), now_s)
            except MalformedRecord as error:
                totals.rejected += 1
                work.letters.append(self._letter(batch.source, record, str(error)))
            else:
                totals.unassigned += released.counts["spans_unassigned"]
                work.add(released)
        totals.done = batch.last + 1

    def _letter(self, source: Source, record: Record, reason: str) -> bytes:
        DEAD_LETTERS.labels(ROLE, "malformed_otlp").inc()
        reject = Reject(record.offset, "malformed_otlp", reason, b"", record.timestamp_ms)
        letter = dead_letters.dead_letter(reject, source, ROLE)
        return dead_letters.encode(replace(letter, size=len(record.value or b"")))

    def _watch(self) -> None:
        """The flags of the experiments that are registered."""
        version = self._registry.version
        if version != self._registry_version:
            flags = flags_of(self._registry.entries())
            self.assembly.flags = Flags(flags, self.assembly.flags.configured)
            self._registry_version = version

    def _publish(self, work: Work) -> None:
        for each in made(work.released):
            self._appender.append(self.topics(each.topic), each.value, key=each.key)
        for letter in work.letters:
            self._appender.append(self.topics("deadletter"), letter)
        self._appender.flush()

    # ---- what became of it ---------------------------------------------------------------------

    def _count(self, released: Released) -> None:
        for fate, number in released.counts.items():
            OTLP.labels(fate).inc(number)
        for model, calls in bounded((segments.clean(model), n) for model, n in released.unpriced.items()).items():
            UNPRICED.labels(model).inc(calls)
        self._alarm(released.unpriced)

    def _alarm(self, unpriced: Mapping[str, int]) -> None:
        """Says which models have no price, and again whenever their calls have doubled: their cost is unknown, and no
        budget or guardrail sees it."""
        before = self._unpriced
        named = ((segments.clean(model), calls) for model, calls in unpriced.items())
        self._unpriced = bounded([*before.items(), *named])
        for model, calls in self._unpriced.items():
            if calls.bit_length() > before.get(model, 0).bit_length():
                log.warning("calls of a model without a price: their cost is unknown", model=model, calls=calls)

    async def status(self) -> None:
        """Says on every ledger partition that has an experiment how far each partition of spans is read."""
        sources, progress = consumer_of(self.app).sources(), consumer_of(self.app).progress()
        spans = [tp for tp in sorted(sources.keys() & progress.keys()) if self._names[tp.topic] == SPANS]
        statuses = [self._status(sources[tp], *progress[tp]) for tp in spans]
        partitions = {entry.partition for entry in self._registry.entries()}
        if statuses and partitions:
            await self._in_thread(lambda: tell(self._appender, self.topics("ledger"), statuses, partitions))

    def _status(self, source: Source, position: int, end: int | None) -> SourceStatus:
        """Without valid records: the traces made of them are counted by intake."""
        totals = self._totals.setdefault(TP(source.topic, source.partition), Totals(position))
        return totals.status(source, position if end is None else end)


def _key(batch: Batch) -> tuple[str, int, int, int]:
    return batch.tp.topic, batch.tp.partition, batch.generation, batch.first


def build(settings: Settings) -> App:
    return Collected(settings).app

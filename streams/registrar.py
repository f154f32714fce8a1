"""Registrar: reads requests by people and CI in one total order, forms an opinion, and appends both to the ledger.

It also tells the ledger what services count themselves, and sends the canaries: whoever owns the one partition of
requests is the only one who does.
"""

from __future__ import annotations

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import structlog
from aiokafka import ConsumerRecord

from stoploss import ledger
from stoploss.errors import InvalidExperiment, WireError
from stoploss.intake import begun, dead_letters
from stoploss.intake.begun import Begun
from stoploss.intake.results import Reject
from stoploss.ledger import Request, Source
from stoploss.lifecycle import REQUESTS
from stoploss.settings import Settings
from stoploss.spec.file import parse_experiment
from stoploss.wire import records
from streams.admin import Admin
from streams.app import App, build_app
from streams.appender import Appender
from streams.batches import Batch
from streams.canary import CanarySender
from streams.measuring import DEAD_LETTERS
from streams.registry_view import RegistryView
from streams.transport import consumer_of

log = structlog.get_logger("stoploss.registrar")


def partition_for(experiment: str, partitions: int) -> int:
    """The ledger partition that a new experiment is given; written down at registration, and valid from then on.

    >>> partition_for("checkout-agent-model", 16)
    6
    """
    return zlib.crc32(experiment.encode()) % partitions


def opinion(request: Request) -> Request:
    """The request with the registrar's opinion. What the lifecycle allows, the judge knows better."""
    if request.action not in REQUESTS:
        known = ", ".join(REQUESTS)
        return replace(request, accepted=False, opinion=f"unknown action {request.action!r}; known actions: {known}")
    if request.exposure is not None and not 0 < request.exposure <= 1:
        return replace(request, accepted=False, opinion=f"exposure {request.exposure} is not above 0 and at most 1")
    if request.action != "register":
        return replace(request, accepted=True, opinion="")
    return _opinion_on_spec(request)


def _opinion_on_spec(request: Request) -> Request:
    try:
        experiment = parse_experiment(request.spec or "", f"the spec of {request.experiment!r}")
    except InvalidExperiment as error:
        return replace(request, accepted=False, opinion=str(error))
    if experiment.name != request.experiment:
        why = f"the spec is of {experiment.name!r}, the request of {request.experiment!r}"
        return replace(request, accepted=False, opinion=why)
    return replace(request, accepted=True, opinion="", spec_hash=experiment.spec_hash)


class Registrar:
    def __init__(self, settings: Settings) -> None:
        self.settings, self.topics = settings, settings.topics
        bootstrap = settings.need_kafka()
        self._appender = Appender(bootstrap)
        self._registry = RegistryView(bootstrap, self.topics("registry")).start()
        self._uuid = Admin(bootstrap).uuids([self.topics("experiments")])[self.topics("experiments")]
        self._given: dict[str, int] = {}
        self._begun: dict[int, Begun] = {}
        self._thread = ThreadPoolExecutor(1, "registrar")
        self._canary = CanarySender(bootstrap, self.topics("traces"), Admin(bootstrap))
        self.app: App = build_app(
            settings, "registrar", {"experiments": self.handle, "assignments": self.handle_counts}
        )
        self.app.timer(settings.canary_every_ms / 1_000, name="streams.registrar.canary")(self.send_canaries)

    async def handle(self, batch: Batch) -> None:
        if consumer_of(self.app).owns(batch):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._append_all, batch)
        consumer_of(self.app).complete(batch)

    async def handle_counts(self, batch: Batch) -> None:
        if consumer_of(self.app).owns(batch):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._append_counts, batch)
        consumer_of(self.app).complete(batch)

    async def send_canaries(self) -> None:
        """Only where somebody listens: into all traces, for each ledger partition that has an experiment."""
        if any(tp.topic == self.topics("experiments") for tp in consumer_of(self.app).owned()):
            partitions = {entry.partition for entry in self._registry.entries()}
            await asyncio.get_running_loop().run_in_executor(self._thread, self._canary.send, partitions)

    def _append_all(self, batch: Batch) -> None:
        for record in batch.records:
            self._append(record, Source(batch.tp.topic, self._uuid, batch.tp.partition))
        self._appender.flush()

    def _append(self, record: ConsumerRecord, source: Source) -> None:
        try:
            request = opinion(records.decode(record.value, {"request": Request}))
        except WireError as error:
            self._dead_letter(record, source, "malformed", str(error))
            return
        partition = self._partition_of(request)
        if partition is None:
            why = f"{request.action} of {request.experiment!r}: the experiment is not registered; register it first"
            self._dead_letter(record, source, "not_registered", why)
            return
        where = f"{source.key}/{record.offset}"
        fact = replace(request, partition=partition, source=where)
        log.info(
            "request",
            experiment=request.experiment,
            action=request.action,
            accepted=request.accepted,
            opinion=request.opinion,
        )
        self._appender.append(self.topics("ledger"), ledger.encode(fact), key=ledger.key_of(fact), partition=partition)

    def _append_counts(self, batch: Batch) -> None:
        """What cannot be read is passed over: the next count of the same instance makes up for it."""
        counts = self._begun.setdefault(batch.tp.partition, Begun())
        for record in batch.records:
            try:
                counts.take(begun.decode(record.value))
            except WireError as error:
                log.warning("assignment count refused", offset=record.offset, reason=str(error))
        for fact in counts.facts(f"{batch.tp.topic}/{batch.tp.partition}/{batch.last}"):
            entry = self._registry.get(fact.experiment)
            if entry is not None:
                value, key = ledger.encode(fact), ledger.key_of(fact)
                self._appender.append(self.topics("ledger"), value, key=key, partition=entry.partition)
        self._appender.flush()

    def _partition_of(self, request: Request) -> int | None:
        """Where the experiment lives; None where it was never registered."""
        entry = self._registry.get(request.experiment)
        if entry is not None:
            return entry.partition
        if request.action == "register":
            given = partition_for(request.experiment, self.settings.ledger_partitions)
            return self._given.setdefault(request.experiment, given)
        return self._given.get(request.experiment)

    def _dead_letter(self, record: ConsumerRecord, source: Source, code: str, why: str) -> None:
        log.warning("request refused", offset=record.offset, code=code, reason=why)
        reject = Reject(record.offset, code, why, record.value or b"", record.timestamp)
        DEAD_LETTERS.labels("registrar", code).inc()
        letter = dead_letters.dead_letter(reject, source, "registrar", record.key)
        self._appender.append(self.topics("deadletter"), dead_letters.encode(letter))


def build(settings: Settings) -> App:
    return Registrar(settings).app

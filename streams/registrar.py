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
from faust.types import TP

from stoploss import followup, ledger
from stoploss.errors import InvalidExperiment, WireError
from stoploss.experiment import Experiment
from stoploss.governance.bodies import fault_of
from stoploss.governance.identity import Identity, RolesFile, Signed
from stoploss.intake import begun, dead_letters
from stoploss.intake.begun import Begun
from stoploss.intake.dead_letters import Reject
from stoploss.ledger import Request, Source
from stoploss.lifecycle import OF_ALL, POLICY, RECORD, REQUESTS, refusal
from stoploss.limits.programme import BEGINS
from stoploss.policy.file import parse_policy, policy_in_force
from stoploss.policy.requirements import said_of
from stoploss.policy.units import factor_faults
from stoploss.settings import Settings
from stoploss.signing import SIGNATURE_HEADER
from stoploss.spec.file import field_of, parse_experiment, parsed
from stoploss.wire import records
from stoploss.wire.refusals import Code
from streams.admin import Admin
from streams.app import App, build_app
from streams.appender import Appender
from streams.batches import Batch, Record
from streams.canary import CanarySender
from streams.limits import Limits
from streams.measuring import DEAD_LETTERS
from streams.policy import kept_as, read_policy
from streams.registry_view import RegistryView
from streams.transport import consumer_of

BUDGETS_EVERY_S = 5.0
LARGEST_REQUEST_BYTES = 512 * 1024
"""A larger one might not fit into the ledger, or its spec into the registry: it would end whoever comes to it."""

log = structlog.get_logger("stoploss.registrar")


def partition_for(experiment: str, partitions: int) -> int:
    """The ledger partition that a new experiment is given; written down at registration, and valid from then on.

    >>> partition_for("checkout-agent-model", 16)
    6
    """
    return zlib.crc32(experiment.encode()) % partitions


def opinion(request: Request) -> Request:
    """The request with the registrar's opinion. What the lifecycle allows, the judge knows better."""
    request = replace(request, key_id=None, edition=ledger.EDITION)
    if request.action == POLICY:
        return _opinion_on_policy(request)
    if request.action in OF_ALL:
        return _opinion_on_freeze(request)
    if request.action == RECORD:
        fault = _fault_of_record(request)
        return replace(request, accepted=not fault, opinion=fault)
    if request.action not in REQUESTS:
        known = ", ".join(REQUESTS)
        return replace(request, accepted=False, opinion=f"unknown action {request.action!r}; known actions: {known}")
    if request.exposure is not None and not 0 < request.exposure <= 1:
        return replace(request, accepted=False, opinion=f"exposure {request.exposure} is not above 0 and at most 1")
    if request.action in ("register", "amend"):
        return _opinion_on_spec(request)
    why = fault_of(request.action, request.body)
    return replace(request, accepted=why is None, opinion=why or "")


def _fault_of_record(request: Request) -> str:
    """Of no experiment is only what cannot be put down to one: that a person's data were erased."""
    said = followup.parse(request.body)
    if isinstance(said, str):
        return said
    of_one = not request.experiment and not isinstance(said, followup.UnitErased)
    return f"a record of kind {said.kind} is of an experiment, and this one names none" if of_one else ""


def _opinion_on_spec(request: Request) -> Request:
    try:
        experiment = parse_experiment(request.spec or "", f"the spec of {request.experiment!r}")
    except InvalidExperiment as error:
        return replace(request, accepted=False, opinion=str(error))
    if experiment.name != request.experiment:
        why = f"the spec is of {experiment.name!r}, the request of {request.experiment!r}"
        return replace(request, accepted=False, opinion=why)
    if (fault := next(factor_faults(experiment), None)) is not None:
        path, message = fault
        return replace(request, accepted=False, opinion=f"{field_of(path)}: {message}")
    return replace(request, accepted=True, opinion="", spec_hash=experiment.spec_hash)


def _opinion_on_policy(request: Request) -> Request:
    """The policy is of no experiment: that is how every ledger partition knows that it is told."""
    if request.experiment:
        why = f"a policy is of no single experiment, and this one names {request.experiment!r}"
        return replace(request, accepted=False, opinion=why)
    try:
        parse_policy(request.spec or "")
    except InvalidExperiment as error:
        return replace(request, accepted=False, opinion=str(error))
    return replace(request, accepted=True, opinion="")


def _opinion_on_freeze(request: Request) -> Request:
    if request.experiment:
        why = f"{request.action} is of all experiments, and this one names {request.experiment!r}"
        return replace(request, accepted=False, opinion=why)
    if not request.reason.strip():
        return replace(request, accepted=False, opinion=f"{request.action} needs a reason; give one with --reason")
    return replace(request, accepted=True, opinion="")


class Registrar:
    """
    _specs  by experiment: the spec of a registration that the registry may not show yet
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.topics = settings, settings.topics
        bootstrap = settings.need_kafka()
        self._appender = Appender(bootstrap)
        self._registry = RegistryView(bootstrap, self.topics("registry")).start()
        self._given: dict[str, int] = {}
        self._specs: dict[str, str] = {}
        self._limits = Limits(settings, self._registry, self._spec_of)
        self._roles = RolesFile(settings.roles_file) if settings.roles_file is not None else None
        self._begun: dict[int, Begun] = {}
        self._thread = ThreadPoolExecutor(1, "registrar")
        self._canary = CanarySender(bootstrap, self.topics("traces"), Admin(bootstrap))
        handlers = {"experiments": self.handle, "assignments": self.handle_counts}
        self.app: App = build_app(settings, "registrar", handlers, restore=self.restore)
        self.app.timer(BUDGETS_EVERY_S, name="streams.registrar.budgets")(self.hold_to_budgets)
        self.app.timer(settings.canary_every_ms / 1_000, name="streams.registrar.canary")(self.send_canaries)

    async def restore(self, tp: TP) -> None:
        """Takes the requests over, perhaps from another registrar; they are read on from where that one was."""
        if tp.topic == self.topics("experiments"):
            self._limits.begin_anew()

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

    async def hold_to_budgets(self) -> None:
        """Only whoever owns the requests, in the thread that handles them."""
        if any(tp.topic == self.topics("experiments") for tp in consumer_of(self.app).owned()):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._pause_spenders)

    def _pause_spenders(self) -> None:
        found = self._limits.overdrawn()
        for request in found:
            log.warning("a budget is spent", experiment=request.experiment, reason=request.reason)
            self._tell(request)
        if found:
            self._appender.flush()

    def _append_all(self, batch: Batch) -> None:
        self._limits.remember(before=batch.records[0].offset)
        for record in batch.records:
            self._append(record, batch.source)
        self._appender.flush()

    def _append(self, record: Record, source: Source) -> None:
        size = len(record.value or b"")
        if size > LARGEST_REQUEST_BYTES:
            why = f"a request has {size:,} bytes; at most {LARGEST_REQUEST_BYTES:,} are read"
            self._dead_letter(record, source, "too_large", why)
            return
        try:
            request = self._checked(record, opinion(records.decode(record.value, {"request": Request})))
        except WireError as error:
            self._dead_letter(record, source, "malformed", str(error))
            return
        if request.action in OF_ALL:
            self._tell_all(request, f"{source.key}/{record.offset}")
            return
        where = f"{source.key}/{record.offset}"
        fact = replace(self._placed(request), source=where)
        log.info(
            "request",
            experiment=fact.experiment,
            action=fact.action,
            accepted=fact.accepted,
            opinion=fact.opinion,
        )
        self._tell(fact)

    def _tell(self, fact: Request) -> None:
        value, key = ledger.encode(fact), ledger.key_of(fact)
        self._appender.append(self.topics("ledger"), value, key=key, partition=fact.partition)

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

    def _checked(self, record: Record, request: Request) -> Request:
        """What is well-formed may still be nobody's to ask for, or against the policy."""
        if not request.accepted:
            return request
        if self._roles is not None:
            request = self._identified(self._roles.identity(), record, request)
        if not request.accepted:
            return request
        why = None
        if request.action in ("register", "amend"):
            why = self._against_policy(request)
        elif request.action in BEGINS:
            why = self._against_limits(request)
        return request if why is None else replace(request, accepted=False, opinion=why)

    def _against_policy(self, request: Request) -> str | None:
        policy = read_policy(self.settings)
        if policy is not None and (why := said_of(policy_in_force(policy.spec or ""), parsed(request.spec or ""))):
            return why
        self._specs.setdefault(request.experiment, request.spec or "")
        return None

    def _against_limits(self, request: Request) -> str | None:
        wanted = self._spec_of(request.experiment)
        return None if wanted is None else self._limits.objection(wanted, request)

    def _spec_of(self, experiment: str) -> Experiment | None:
        """The spec in force; None where it was never registered, or another version has accepted it."""
        entry = self._registry.get(experiment)
        text = entry.spec if entry is not None else self._specs.get(experiment)
        try:
            return parsed(text) if text is not None else None
        except InvalidExperiment:
            return None

    def _identified(self, identity: Identity, record: Record, request: Request) -> Request:
        signature = next((value for name, value in record.headers if name == SIGNATURE_HEADER), None)
        signed = Signed(request, record.value or b"", signature, record.timestamp_ms * 1_000)
        return identity.checked(signed, self._teams_of(request))

    def _teams_of(self, request: Request) -> frozenset[str]:
        """Owners of the experiment as it is and as it will be: nobody moves it out of, or into, a team not theirs."""
        known = self._spec_of(request.experiment)
        found = {known.metadata.owner} if known is not None else set()
        if request.action in ("register", "amend"):
            found.add(parsed(request.spec or "").metadata.owner)
        return frozenset(found)

    def _tell_all(self, request: Request, where: str) -> None:
        """Every ledger partition is told, and what is in force is kept where workers and people find it."""
        log.info(request.action, accepted=request.accepted, opinion=request.opinion, by=request.by)
        for partition in range(self.settings.ledger_partitions):
            self._tell(replace(request, partition=partition, source=where))
        if request.accepted:
            value = ledger.encode(replace(request, source=where))
            self._appender.append(self.topics("policy"), value, key=kept_as(request.action), partition=0)
        self._appender.flush()
        self._limits.take_policy()

    def _placed(self, request: Request) -> Request:
        """With its ledger partition. What is of an experiment that was never registered is refused where it would live,
        so that whoever asked hears of it."""
        partition = self._partition_of(request)
        if partition is not None:
            return replace(request, partition=partition)
        partition = partition_for(request.experiment, self.settings.ledger_partitions)
        why = request.opinion or refusal(request.action, None)
        return replace(request, partition=partition, accepted=False, opinion=why)

    def _partition_of(self, request: Request) -> int | None:
        """Where the experiment lives; None where it was never registered. A record of none has the first partition."""
        if request.action == RECORD and not request.experiment:
            return 0
        entry = self._registry.get(request.experiment)
        if entry is not None:
            return entry.partition
        if request.action == "register":
            given = partition_for(request.experiment, self.settings.ledger_partitions)
            return self._given.setdefault(request.experiment, given)
        return self._given.get(request.experiment)

    def _dead_letter(self, record: Record, source: Source, code: Code, why: str) -> None:
        log.warning("request refused", offset=record.offset, code=code, reason=why)
        reject = Reject(record.offset, code, why, record.value or b"", record.timestamp_ms)
        DEAD_LETTERS.labels("registrar", code).inc()
        letter = dead_letters.dead_letter(reject, source, "registrar", record.key)
        self._appender.append(self.topics("deadletter"), dead_letters.encode(letter))


def build(settings: Settings) -> App:
    return Registrar(settings).app

"""What comes out of a step, in order: journal entries, commands, registry entries, measures, leases."""

from __future__ import annotations

from dataclasses import dataclass

from stoploss import journal, leases, measures, registry
from stoploss.commands import Action, Command, Evidence, Micros, derived_id
from stoploss.journal import Conclusion, JournalEntry
from stoploss.leases import Lease
from stoploss.measures import Measure
from stoploss.registry import Rechecked, RegistryEntry
from stoploss.state import ExperimentState

RAISE_EXPIRES_AFTER = 300_000_000
"""Microseconds of ledger time after which a command that raises exposure is refused by receivers."""


@dataclass(frozen=True, slots=True)
class JournalOutput:
    experiment: str
    ordinal: int
    entry: JournalEntry
    value: bytes


@dataclass(frozen=True, slots=True)
class CommandOutput:
    experiment: str
    ordinal: int
    command: Command


@dataclass(frozen=True, slots=True)
class RegistryOutput:
    experiment: str
    ordinal: int
    value: bytes


@dataclass(frozen=True, slots=True)
class MeasureOutput:
    experiment: str
    ordinal: int
    value: bytes


@dataclass(frozen=True, slots=True)
class LeaseOutput:
    """Of no single experiment: only the newest one of a partition counts, and one that is repeated does no harm."""

    lease: Lease

    @property
    def value(self) -> bytes:
        return leases.encode(self.lease)


OfExperiment = JournalOutput | CommandOutput | RegistryOutput | MeasureOutput
Output = OfExperiment | LeaseOutput


class Outputs:
    """Collects the outputs of one ledger entry and numbers them; ids come from where the entry stands."""

    def __init__(self, partition: int, offset: int, at: Micros, control_topic: str) -> None:
        self.partition, self.offset, self.at = partition, offset, at
        self.control_topic = control_topic
        self.collected: list[Output] = []
        self._counts: dict[str, int] = {}

    def _ordinal(self, state: ExperimentState) -> int:
        """Of an experiment's next output: no id depends on who else stands on the partition."""
        return self._counts.get(state.name, 0)

    def _add(self, output: OfExperiment) -> None:
        self.collected.append(output)
        self._counts[output.experiment] = output.ordinal + 1

    def journal(self, state: ExperimentState, conclusion: Conclusion) -> JournalEntry:
        """Appends a conclusion to the experiment's chain."""
        entry = JournalEntry(
            entry_id=derived_id(state.name, self.partition, self.offset, self._ordinal(state)),
            experiment=state.name,
            number=state.number,
            run=state.run,
            epoch=state.epoch,
            at=self.at,
            ledger_partition=self.partition,
            ledger_offset=self.offset,
            ordinal=self._ordinal(state),
            previous=state.chain,
            conclusion=conclusion,
        )
        value = journal.encode(entry)
        self._add(JournalOutput(state.name, self._ordinal(state), entry, value))
        state.number, state.chain = state.number + 1, journal.hash_of(value)
        return entry

    def command(
        self,
        state: ExperimentState,
        action: Action,
        rule: str,
        version: int,
        reason: str,
        evidence: Evidence | None,
        raises: bool,
        dry_run: bool = False,
    ) -> Command:
        """Publishes the desired state of an experiment, as it now stands in `state`."""
        experiment, desired = state.experiment, state.desired
        state.sequence += 1
        command = Command(
            command_id=derived_id(
                state.name, state.run, rule, version, self.partition, self.offset, self._ordinal(state)
            ),
            experiment=state.name,
            run=state.run,
            epoch=state.epoch,
            sequence=state.sequence,
            action=action,
            flag=experiment.spec.assignment.flag,
            release_variant=desired.release_variant,
            control_variant=experiment.control.name,
            treatment_variant=experiment.treatment.name,
            exposure=desired.exposure,
            stopped_segments=tuple(desired.stopped_segments),
            reason=reason,
            evidence=evidence,
            decided_at=self.at,
            expires_at=self.at + RAISE_EXPIRES_AFTER if raises else None,
            dry_run=dry_run,
            topic=self.control_topic,
            controllers=experiment.spec.assignment.controllers,
            needs_consent=experiment.needs_consent,
        )
        self._add(CommandOutput(state.name, self._ordinal(state), command))
        return command

    def registry(self, state: ExperimentState) -> None:
        """Publishes the experiment's entry in the registry, as it now stands."""
        after = state.current.after_stop
        counted = after.said >= 0
        entry = RegistryEntry(
            experiment=state.name,
            partition=self.partition,
            spec=state.spec,
            spec_hash=state.spec_hash,
            lifecycle=state.lifecycle,
            run=state.run,
            epoch=state.epoch,
            sequence=state.sequence,
            release_variant=state.desired.release_variant,
            exposure=state.desired.exposure,
            stopped_segments=tuple(state.desired.stopped_segments),
            command_id=state.desired.command_id,
            changed_at=self.at,
            offset=self.offset,
            recommendation=state.recommendation,
            in_flight=after.in_flight if counted else None,
            after_stop=after.after_stop if counted else None,
            first_harm_at=after.first_harm_at if counted else None,
            last_exposure_at=(after.last_at or state.desired.decided_at) if counted else None,
            open_incidents=tuple(incident.command_id for incident in state.incidents),
            authors=tuple(state.governance.authors),
            approvals=tuple(state.governance.approvals),
            amendments=tuple(state.governance.amendments),
            completion=state.governance.completion,
            rehearsed_at=state.governance.rehearsal.acknowledged_at,
            ramp=state.current.pace.stands or None,
            rechecked=tuple(Rechecked(item, at) for item, at in state.governance.rechecked.items()),
            unexplained_at=state.governance.unexplained_at,
            served_at=state.desired.served_at,
        )
        self._add(RegistryOutput(state.name, self._ordinal(state), registry.encode(entry)))

    def measure(self, state: ExperimentState, measure: Measure) -> None:
        self._add(MeasureOutput(state.name, self._ordinal(state), measures.encode(measure)))

    def lease(self, lease: Lease) -> None:
        self.collected.append(LeaseOutput(lease))

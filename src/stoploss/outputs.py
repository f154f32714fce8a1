"""What comes out of a step, in order: journal entries, commands, registry entries, measures."""

from __future__ import annotations

from dataclasses import dataclass

from stoploss import journal, measures, registry
from stoploss.commands import Action, Command, Evidence, Micros, derived_id
from stoploss.journal import Conclusion, JournalEntry
from stoploss.measures import Measure
from stoploss.registry import RegistryEntry
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


Output = JournalOutput | CommandOutput | RegistryOutput | MeasureOutput


class Outputs:
    """Collects the outputs of one ledger entry and numbers them; ids come from where the entry stands."""

    def __init__(self, partition: int, offset: int, at: Micros, control_topic: str) -> None:
        self.partition, self.offset, self.at = partition, offset, at
        self.control_topic = control_topic
        self.collected: list[Output] = []

    @property
    def _ordinal(self) -> int:
        return len(self.collected)

    def journal(self, state: ExperimentState, conclusion: Conclusion) -> JournalEntry:
        """Appends a conclusion to the experiment's chain."""
        entry = JournalEntry(
            entry_id=derived_id(state.name, self.partition, self.offset, self._ordinal),
            experiment=state.name,
            number=state.number,
            run=state.run,
            epoch=state.epoch,
            at=self.at,
            ledger_partition=self.partition,
            ledger_offset=self.offset,
            ordinal=self._ordinal,
            previous=state.chain,
            conclusion=conclusion,
        )
        value = journal.encode(entry)
        self.collected.append(JournalOutput(state.name, self._ordinal, entry, value))
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
    ) -> Command:
        """Publishes the desired state of an experiment, as it now stands in `state`."""
        experiment, desired = state.experiment, state.desired
        state.sequence += 1
        command = Command(
            command_id=derived_id(state.name, state.run, rule, version, self.partition, self.offset, self._ordinal),
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
            dry_run=False,
            topic=self.control_topic,
            controllers=experiment.spec.assignment.controllers,
        )
        self.collected.append(CommandOutput(state.name, self._ordinal, command))
        return command

    def registry(self, state: ExperimentState) -> None:
        """Publishes the experiment's entry in the registry, as it now stands."""
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
        )
        self.collected.append(RegistryOutput(state.name, self._ordinal, registry.encode(entry)))

    def measure(self, state: ExperimentState, measure: Measure) -> None:
        self.collected.append(MeasureOutput(state.name, self._ordinal, measures.encode(measure)))

"""Watch: one frame of every experiment, from the newest measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.experiment import Experiment
from stoploss.registry import RegistryEntry
from stoploss.review import chain
from stoploss.review.guardrails import GuardrailResult, guardrail_results
from stoploss.review.overview import amended
from stoploss.review.recommended import Recommended, recommended
from stoploss.store.rows import Arm, CommandWithAcks, RuleVerdict, Status, TimelineEntry


@dataclass(frozen=True, slots=True)
class ArmCount:
    """Traces of an arm in this run that carried its best covered metric; None is no data."""

    variant: str
    n: int | None


@dataclass(frozen=True, slots=True)
class LastCommand:
    action: str
    decided_at: datetime
    applied_by: tuple[str, ...]
    waiting_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """An experiment as it stands now.

    guardrails   None: its spec cannot be read by this version
    recommended  None: so it is, or it has no objective
    amended      that the spec was changed after its registration, in a phrase
    """

    experiment: str
    lifecycle: str
    run: int
    epoch: int
    exposure: float
    stopped_segments: tuple[str, ...]
    measured_at: datetime | None
    arms: tuple[ArmCount, ...]
    guardrails: tuple[GuardrailResult, ...] | None
    last_command: LastCommand | None
    recommended: Recommended | None = None
    amended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FrameRows:
    """What a frame is made of, as the store gives it; findings: journal entries of that kind, entry: the registry's."""

    arms: Sequence[Arm] = ()
    verdicts: Sequence[RuleVerdict] = ()
    commands: Sequence[CommandWithAcks] = ()
    findings: Sequence[TimelineEntry] = ()
    entry: RegistryEntry | None = None


def frame(status: Status, experiment: Experiment | None, rows: FrameRows) -> Frame:
    """The frame of the last run; rows of earlier runs are left out."""
    arms = [arm for arm in rows.arms if arm.run == status.run and arm.segment_dimension is None]
    verdicts = [verdict for verdict in rows.verdicts if verdict.run == status.run]
    found = chain.of_run(rows.findings, status.run, "finding")
    commands = [held for held in rows.commands if held.command.run == status.run]
    return Frame(
        experiment=status.experiment,
        lifecycle=status.lifecycle,
        run=status.run,
        epoch=status.epoch,
        exposure=status.exposure,
        stopped_segments=tuple(status.stopped_segments),
        measured_at=max((arm.at for arm in arms), default=None),
        arms=_counts(experiment, arms),
        guardrails=guardrail_results(experiment, verdicts, found) if experiment else None,
        last_command=_last(commands[-1]) if commands else None,
        recommended=recommended(experiment, verdicts) if experiment else None,
        amended=tuple(amended(rows.entry)) if rows.entry else (),
    )


def _counts(experiment: Experiment | None, arms: Sequence[Arm]) -> tuple[ArmCount, ...]:
    named = [variant.name for variant in experiment.arms] if experiment else sorted({arm.variant for arm in arms})
    return tuple(ArmCount(name, _most(arms, name)) for name in named)


def _most(arms: Sequence[Arm], variant: str) -> int | None:
    return max((arm.n for arm in arms if arm.variant == variant and arm.n is not None), default=None)


def _last(held: CommandWithAcks) -> LastCommand:
    applied = tuple(dict.fromkeys(ack.controller for ack in held.acks if ack.status == "applied"))
    waiting = tuple(name for name in held.command.controllers if name not in applied)
    return LastCommand(held.command.action, held.command.decided_at, applied, waiting)

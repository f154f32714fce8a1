"""Explain: the chain from evidence to command of an experiment's last run, and how to see the traces behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from stoploss.review import chain
from stoploss.review.blindness import BlindLine, blindness
from stoploss.review.cells import Cells
from stoploss.review.chain import CommandLine, EpochLine, FindingLine, RefusedLine, RequestLine
from stoploss.review.lineage import Lineage
from stoploss.store.rows import CommandWithAcks, ExposuresAfterStop, Status, TimelineEntry


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the experiment stands and how it came there.

    requests     of all runs; everything else is of the last
    recommended  what was last recommended; None: nothing was yet
    lineage      of the findings that led to commands, once they were looked up
    """

    experiment: str
    lifecycle: str
    run: int
    epoch: int
    exposure: float
    release_variant: str
    stopped_segments: tuple[str, ...]
    changed_at: datetime
    requests: tuple[RequestLine, ...]
    epochs: tuple[EpochLine, ...]
    findings: tuple[FindingLine, ...]
    commands: tuple[CommandLine, ...]
    exposures: tuple[ExposuresAfterStop, ...]
    refused: tuple[RefusedLine, ...]
    blind: tuple[BlindLine, ...] = ()
    recommended: FindingLine | None = None
    lineage: tuple[Lineage, ...] = ()


def explanation(
    status: Status,
    timeline: Sequence[TimelineEntry],
    commands: Sequence[CommandWithAcks],
    signers: Mapping[str, str],
    counted: Sequence[ExposuresAfterStop],
    cells: Cells,
) -> Explanation:
    """Everything but the lineage, from rows alone.

    signers  id of the signing key by command id
    cells    which segments' numbers are hidden
    """
    issued = chain.commands(timeline, status.run, commands, signers, cells)
    found = chain.findings(timeline, status.run, cells)
    return Explanation(
        experiment=status.experiment,
        lifecycle=status.lifecycle,
        run=status.run,
        epoch=status.epoch,
        exposure=status.exposure,
        release_variant=status.release_variant,
        stopped_segments=tuple(status.stopped_segments),
        changed_at=status.changed_at,
        requests=chain.requests(timeline),
        epochs=chain.epochs(timeline, status.run),
        findings=found,
        commands=issued,
        exposures=chain.exposures(counted, issued),
        refused=chain.refused(timeline),
        blind=blindness(timeline, status.run),
        recommended=next((line for line in reversed(found) if line.metric == "recommendation"), None),
    )


def with_lineage(told: Explanation, lineage: Sequence[Lineage]) -> Explanation:
    return replace(told, lineage=tuple(lineage))

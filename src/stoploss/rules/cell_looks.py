"""One look of a guardrail at the cells of its dimensions: all contrasts in one pass, each worked out where needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from stoploss.commands import Segment
from stoploss.rules.group_totals import GroupTotals, contrasts_of
from stoploss.rules.guardrail_plan import TSTAR, GuardrailPlan
from stoploss.rules.rows import Moment
from stoploss.segments import EVERYBODY, Dimension
from stoploss.stats.contrast import Contrast, Contrasts, NoContrast
from stoploss.stats.floors import MINIMUM_EFFECTIVE_GROUPS, MINIMUM_SPREAD

ROOM = 1.01
"""A floor is met for certain where a screened number is so many times what it asks for."""


@dataclass(frozen=True, slots=True)
class CellLook:
    """One cell.

    alpha       error budget of its stream
    units       distinct units of control and treatment; with_event: those with a value other than 0
    silent      no evidence comes near its limit, and the floors on groups of units are met
    found, place  where its contrast is
    """

    totals: GroupTotals
    cell: int
    segment: Segment | None
    alpha: float
    units: tuple[int, int]
    with_event: tuple[int, int]
    silent: bool
    found: Contrasts
    place: int

    @property
    def stream(self) -> str:
        return str(self.segment) if self.segment else "everybody"

    @property
    def contrast(self) -> Contrast | NoContrast:
        """As of the look, whatever became of the totals since."""
        return self.found[self.place]


@dataclass(slots=True)
class Looked:
    """The last look at some dimensions: where nothing has changed since, it is the next one too.

    of  changes of each dimension's totals until then, and cells in use
    """

    of: list[tuple[int, int]] = field(default_factory=list)
    cells: list[CellLook] = field(default_factory=list)


@dataclass(slots=True)
class Looks:
    """The last looks at everybody and at the segments."""

    everybody: Looked = field(default_factory=Looked)
    segments: Looked = field(default_factory=Looked)


def looks(
    plan: GuardrailPlan,
    held: dict[str, GroupTotals],
    moment: Moment,
    last: Looks,
    *,
    looking: bool,
    share: float = 1.0,
) -> Iterator[CellLook]:
    """The cells that are due: everybody where it is worth a look or all is asked for, and then the segments.

    share  part of the error budget that the contrasts have
    """
    due = [name for name in moment.due if name in held]
    if EVERYBODY in due and (looking or moment.whole):
        yield from _cells(plan, held, moment, last.everybody, [EVERYBODY], share)
    if segments := [name for name in due if name != EVERYBODY]:
        yield from _cells(plan, held, moment, last.segments, segments, share)


def _cells(
    plan: GuardrailPlan, held: dict[str, GroupTotals], moment: Moment, last: Looked, names: list[str], share: float
) -> list[CellLook]:
    used = [min(held[name].cells, moment.dimensions[name].used) for name in names]
    now = [(held[name].changes, cells) for name, cells in zip(names, used, strict=True)]
    if last.of != now:
        alphas = [[a * share for a in plan.alphas(name, cells)] for name, cells in zip(names, used, strict=True)]
        parts = list(zip((held[name] for name in names), alphas, strict=True))
        last.of, last.cells = now, list(_looked_at(plan, parts, [moment.dimensions[name] for name in names]))
    return last.cells


def _looked_at(
    plan: GuardrailPlan, parts: list[tuple[GroupTotals, list[float]]], dimensions: list[Dimension]
) -> Iterator[CellLook]:
    found, place = contrasts_of(parts, plan.margin, TSTAR), 0
    silent = _silent(found)
    for (totals, alphas), dimension in zip(parts, dimensions, strict=True):
        units, with_event = totals.units_by_cell(), totals.events_by_cell()
        shown = set(np.flatnonzero(totals.shown_n.any(axis=0)).tolist())
        for cell, alpha in enumerate(alphas):
            if dimension.name == EVERYBODY or cell in shown:
                segment = dimension.segment(cell)
                yield CellLook(
                    totals, cell, segment, alpha, units[cell], with_event[cell], place in silent, found, place
                )
            place += 1


def _silent(found: Contrasts) -> set[int]:
    """Cells that have nothing to say, and groups enough to say it."""
    screen = found.screen()
    spread_enough = screen.spread > ROOM * np.minimum(MINIMUM_SPREAD, screen.n_eff / 4)
    silent = screen.silent & (screen.n_eff > ROOM * MINIMUM_EFFECTIVE_GROUPS) & spread_enough
    return set(np.flatnonzero(silent).tolist())

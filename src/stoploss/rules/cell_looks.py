"""One look of a guardrail at the cells of its dimensions: all contrasts in one pass, each worked out where needed.

Most cells say at a look what they said at the last one, for certain: see Sure. They are passed over where only news is
asked for, so that a look costs what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from stoploss.arrays import indices
from stoploss.commands import Segment
from stoploss.rules.group_totals import GroupTotals, contrasts_of
from stoploss.rules.guardrail_plan import TSTAR, GuardrailPlan
from stoploss.rules.rows import Asked, IntArray, Mask, Moment
from stoploss.segments import EVERYBODY, Dimension
from stoploss.stats.contrast import Contrast, Contrasts, NoContrast
from stoploss.stats.floors import MINIMUM_EFFECTIVE_GROUPS, MINIMUM_SPREAD
from stoploss.stats.screen import Screen, screen

ROOM = 1.01
"""A floor is met for certain where a screened number is so many times what it asks for, and unmet where it is so many
times below."""
NOTHING_MOVED: Mapping[str, set[int]] = {}
Sureness = npt.NDArray[np.int8]


class Sure(IntEnum):
    """What a cell says for certain, by the screen and by counts alone. ANYTHING is worked out; NO_ROWS says nothing."""

    NO_ROWS = -1
    ANYTHING = 0
    BETWEEN = 1
    SAFE = 2
    BELOW_FLOOR = 3


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """All cells of some dimensions at one look, one after the other.

    units, with_event  (2, cells): distinct units of control and treatment, and those with a value other than 0
    grounded           the floors on groups of units are met for certain
    """

    found: Contrasts
    screen: Screen
    units: IntArray
    with_event: IntArray
    grounded: Mask

    @property
    def silent(self) -> Mask:
        """No evidence comes near its limit, though there are groups enough."""
        return self.screen.silent & self.grounded


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

    of    changes of each dimension's totals until then, and cells in use
    sure  of Sure, by cell; said: what that was when the cell was judged last
    """

    of: list[tuple[int, int]] = field(default_factory=list)
    seen: Seen | None = None
    sure: Sureness = field(default_factory=lambda: np.zeros(0, np.int8))
    said: Sureness = field(default_factory=lambda: np.zeros(0, np.int8))


@dataclass(slots=True)
class Looks:
    """The last looks at everybody and at the segments."""

    everybody: Looked = field(default_factory=Looked)
    segments: Looked = field(default_factory=Looked)


@dataclass(frozen=True, slots=True)
class Part:
    """A dimension that is looked at.

    alphas  error budget of each cell in use
    moved   cells that may say something else though their contrast does not; emptied when they are judged
    """

    totals: GroupTotals
    dimension: Dimension
    alphas: tuple[float, ...]
    moved: set[int]


@dataclass(frozen=True, slots=True)
class Looker:
    """How a guardrail looks.

    share  part of the error budget that the contrasts have
    sure   what each cell says for certain
    """

    plan: GuardrailPlan
    sure: Callable[[Seen], Sureness]
    share: float = 1.0

    def looks(
        self,
        held: dict[str, GroupTotals],
        moment: Moment,
        last: Looks,
        moved: Mapping[str, set[int]] = NOTHING_MOVED,
    ) -> Iterator[CellLook]:
        """The cells that are due: everybody, and then the segments."""
        due = [name for name in moment.due if name in held]
        parts = [self._part(held[name], moment.dimensions[name], moved.get(name, set())) for name in due]
        yield from self._cells([part for part in parts if part.dimension.name == EVERYBODY], moment, last.everybody)
        yield from self._cells([part for part in parts if part.dimension.name != EVERYBODY], moment, last.segments)

    def _part(self, totals: GroupTotals, dimension: Dimension, moved: set[int]) -> Part:
        used = min(totals.cells, dimension.used)
        return Part(totals, dimension, self.plan.alphas(dimension.name, used, self.share), moved)

    def _cells(self, parts: list[Part], moment: Moment, last: Looked) -> Iterator[CellLook]:
        if not parts:
            return
        now = [(part.totals.changes, len(part.alphas)) for part in parts]
        if last.seen is None or last.of != now:
            last.of, last.seen = now, _seen(parts, self.plan)
            last.sure = np.where(_shown(parts), self.sure(last.seen), np.int8(Sure.NO_ROWS))
        chosen = last.sure != Sure.NO_ROWS
        if moment.asked.only_news and last.said.size == last.sure.size:
            chosen &= (last.sure == Sure.ANYTHING) | (last.sure != last.said) | _moved(parts)
        if moment.asked is not Asked.PLOT:
            last.said = last.sure
            for part in parts:
                part.moved.clear()
        yield from _worked_out(last.seen, parts, chosen)


def sureness(*, between: Mask, safe: Mask, below: Mask) -> Sureness:
    """Of each cell; where several were so, the first."""
    return np.where(between, Sure.BETWEEN, np.where(safe, Sure.SAFE, np.where(below, Sure.BELOW_FLOOR, 0))).astype(
        np.int8
    )


def _seen(parts: list[Part], plan: GuardrailPlan) -> Seen:
    found = contrasts_of([(part.totals, part.alphas) for part in parts], plan.margin, TSTAR)
    screened = screen(found)
    units = np.concatenate([part.totals.units.counts()[:, : len(part.alphas)] for part in parts], axis=1)
    with_event = np.concatenate([part.totals.events.counts()[:, : len(part.alphas)] for part in parts], axis=1)
    spread_enough = screened.spread > ROOM * np.minimum(MINIMUM_SPREAD, screened.n_eff / 4)
    grounded = (screened.n_eff > ROOM * MINIMUM_EFFECTIVE_GROUPS) & spread_enough
    return Seen(found, screened, units, with_event, grounded)


def _shown(parts: list[Part]) -> Mask:
    """Cells that have rows; everybody always is shown."""
    return np.concatenate(
        [part.totals.shown_n[:, : len(part.alphas)].any(axis=0) | (part.dimension.name == EVERYBODY) for part in parts]
    )


def _moved(parts: list[Part]) -> Mask:
    return np.array([cell in part.moved for part in parts for cell in range(len(part.alphas))], np.bool_)


def _worked_out(seen: Seen, parts: list[Part], chosen: Mask) -> Iterator[CellLook]:
    silent, place = seen.silent, 0
    for part in parts:
        for cell in indices(chosen[place : place + len(part.alphas)]).tolist():
            here = place + cell
            yield CellLook(
                totals=part.totals,
                cell=cell,
                segment=part.dimension.segment(cell),
                alpha=part.alphas[cell],
                units=_pair(seen.units, here),
                with_event=_pair(seen.with_event, here),
                silent=bool(silent[here]),
                found=seen.found,
                place=here,
            )
        place += len(part.alphas)


def _pair(counts: IntArray, place: int) -> tuple[int, int]:
    control, treatment = counts[:, place].tolist()
    return control, treatment

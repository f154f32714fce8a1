"""A look of guardrails at the cells of their dimensions: all contrasts in one pass, each worked out where needed.

Most cells say at a look what they said at the last one, for certain: see Sure. They are passed over where only news is
asked for, so that a look costs what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from stoploss.stats.contrast import Contrast, Contrasts, Margin, Margins, NoContrast
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


@dataclass(frozen=True, slots=True)
class Part:
    """A dimension that is looked at.

    alphas  error budget of each cell in use
    moved   cells that may say something else though their contrast does not; emptied when they are judged
    """

    totals: GroupTotals
    dimension: Dimension
    margin: Margin
    alphas: tuple[float, ...]
    moved: set[int]


@dataclass(slots=True)
class Looked:
    """The last look of a guardrail at some dimensions: where nothing has changed since, it is the next one too.

    of    changes of each dimension's totals until then, and cells in use
    seen  maybe with cells of other guardrails; the own ones are from `first` on
    sure  of Sure, by cell; said: what that was when the cell was judged last
    """

    of: list[tuple[int, int]] = field(default_factory=list)
    seen: Seen | None = None
    first: int = 0
    sure: Sureness = field(default_factory=lambda: np.zeros(0, np.int8))
    said: Sureness = field(default_factory=lambda: np.zeros(0, np.int8))

    def holds(self, parts: Sequence[Part]) -> bool:
        return self.seen is not None and self.of == _state_of(parts)

    def take(self, seen: Seen, first: int, parts: Sequence[Part], sure: Callable[[Seen], Sureness]) -> None:
        self.of, self.seen, self.first = _state_of(parts), seen, first
        shown = _shown(parts)
        self.sure = np.where(shown, sure(seen)[first : first + shown.size], np.int8(Sure.NO_ROWS))


@dataclass(slots=True)
class Looks:
    """The last looks at everybody and at the segments."""

    everybody: Looked = field(default_factory=Looked)
    segments: Looked = field(default_factory=Looked)


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
        everybody, segments = self.parts(held, moment, moved)
        yield from self._cells(everybody, moment, last.everybody)
        yield from self._cells(segments, moment, last.segments)

    def parts(
        self, held: dict[str, GroupTotals], moment: Moment, moved: Mapping[str, set[int]] = NOTHING_MOVED
    ) -> tuple[list[Part], list[Part]]:
        """Everybody and the segments, of what is due."""
        due = [name for name in moment.due if name in held]
        parts = [self._part(held[name], moment.dimensions[name], moved.get(name, set())) for name in due]
        everybody = [part for part in parts if part.dimension.name == EVERYBODY]
        return everybody, [part for part in parts if part.dimension.name != EVERYBODY]

    def _part(self, totals: GroupTotals, dimension: Dimension, moved: set[int]) -> Part:
        used = min(totals.cells, dimension.used)
        return Part(totals, dimension, self.plan.margin, self.plan.alphas(dimension.name, used, self.share), moved)

    def _cells(self, parts: list[Part], moment: Moment, last: Looked) -> Iterator[CellLook]:
        if not parts:
            return
        if not last.holds(parts):
            last.take(_seen(parts), 0, parts, self.sure)
        assert last.seen is not None
        chosen = last.sure != Sure.NO_ROWS
        if moment.asked.only_news and last.said.size == last.sure.size:
            chosen &= (last.sure == Sure.ANYTHING) | (last.sure != last.said) | _moved(parts)
        if moment.asked is not Asked.PLOT:
            last.said = last.sure
            for part in parts:
                part.moved.clear()
        yield from _worked_out(last.seen, last.first, parts, chosen)


@dataclass(frozen=True, slots=True)
class Looking:
    """A guardrail that is about to look: how, at which totals, and what it saw last."""

    looker: Looker
    held: dict[str, GroupTotals]
    last: Looks


def look_together(several: Sequence[Looking], moment: Moment) -> None:
    """Looks for all of them at once where what they saw last does not hold: a pass costs the same for one or ten."""
    both = [one.looker.parts(one.held, moment) for one in several]
    _look_together([(one, one.last.everybody, parts) for one, (parts, _) in zip(several, both, strict=True)])
    _look_together([(one, one.last.segments, parts) for one, (_, parts) in zip(several, both, strict=True)])


def _look_together(several: Sequence[tuple[Looking, Looked, list[Part]]]) -> None:
    stale = [(one, last, parts) for one, last, parts in several if parts and not last.holds(parts)]
    if len(stale) < 2:
        return
    seen, first = _seen([part for _, _, parts in stale for part in parts]), 0
    for one, last, parts in stale:
        last.take(seen, first, parts, one.looker.sure)
        first += last.sure.size


def sureness(*, between: Mask, safe: Mask, below: Mask) -> Sureness:
    """Of each cell; where several were so, the first."""
    return np.where(between, Sure.BETWEEN, np.where(safe, Sure.SAFE, np.where(below, Sure.BELOW_FLOOR, 0))).astype(
        np.int8
    )


def _state_of(parts: Sequence[Part]) -> list[tuple[int, int]]:
    return [(part.totals.changes, len(part.alphas)) for part in parts]


def _seen(parts: Sequence[Part]) -> Seen:
    found = contrasts_of([(part.totals, part.alphas) for part in parts], _margin_of(parts), TSTAR)
    screened = screen(found)
    units = np.concatenate([part.totals.units.counts()[:, : len(part.alphas)] for part in parts], axis=1)
    with_event = np.concatenate([part.totals.events.counts()[:, : len(part.alphas)] for part in parts], axis=1)
    spread_enough = screened.spread > ROOM * np.minimum(MINIMUM_SPREAD, screened.n_eff / 4)
    grounded = (screened.n_eff > ROOM * MINIMUM_EFFECTIVE_GROUPS) & spread_enough
    return Seen(found, screened, units, with_event, grounded)


def _margin_of(parts: Sequence[Part]) -> Margin | Margins:
    """One for all cells, or one for each."""
    if all(part.margin == parts[0].margin for part in parts):
        return parts[0].margin
    return Margins.of([part.margin for part in parts for _ in part.alphas])


def _shown(parts: Sequence[Part]) -> Mask:
    """Cells that have rows; everybody always is shown."""
    return np.concatenate(
        [part.totals.shown_n[:, : len(part.alphas)].any(axis=0) | (part.dimension.name == EVERYBODY) for part in parts]
    )


def _moved(parts: list[Part]) -> Mask:
    return np.array([cell in part.moved for part in parts for cell in range(len(part.alphas))], np.bool_)


def _worked_out(seen: Seen, first: int, parts: list[Part], chosen: Mask) -> Iterator[CellLook]:
    silent, place = seen.silent, 0
    for part in parts:
        for cell in indices(chosen[place : place + len(part.alphas)]).tolist():
            here = first + place + cell
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

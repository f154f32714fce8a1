"""Promise and production: what the experiment showed of the treatment, beside what it has done since the rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoploss.review.comparison import Comparison
from stoploss.store.review_reads import InProduction


@dataclass(frozen=True, slots=True)
class Kept:
    """A metric then and since; means in its unit, None is no data.

    promised    the treatment's mean in the run; control: control's
    production  its mean since the decision, over n traces or outcomes
    change      of production against the promise; a share of it where `relative`, else in the unit
    """

    what: str
    metric: str
    unit: str
    control: float | None
    promised: float | None
    production: float | None
    n: int
    change: float | None
    relative: bool


def kept(results: Sequence[Comparison], production: Sequence[InProduction]) -> tuple[Kept, ...]:
    """Of the target and of quality, cost and latency, each metric once."""
    since = {row.metric: row for row in production}
    once = {result.metric: result for result in reversed(results)}
    return tuple(_kept(result, since.get(result.metric)) for result in results if once[result.metric] is result)


def _kept(result: Comparison, since: InProduction | None) -> Kept:
    promised = result.treatment.mean if result.treatment else None
    production = since.mean if since else None
    return Kept(
        what=result.what,
        metric=result.metric,
        unit=result.unit,
        control=result.control.mean if result.control else None,
        promised=promised,
        production=production,
        n=since.n if since else 0,
        change=_change(promised, production, result.relative),
        relative=result.relative,
    )


def _change(promised: float | None, production: float | None, relative: bool) -> float | None:
    if promised is None or production is None:
        return None
    if relative:
        return production / promised - 1 if promised else None
    return production - promised

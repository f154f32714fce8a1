"""The other pictures of a review: exposure over time, segments as a forest, and how the worth depends on the prices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.experiment import Experiment
from stoploss.review.chain import CommandLine
from stoploss.review.guardrails import GuardrailResult, effect_text, interval_text, margin_text, metric_text
from stoploss.review.pictures import LIMIT, NUMBERS_SHOWN, Line, Mark, NumberRow, Picture
from stoploss.review.recommended import FlipLine, Recommended, flip_text
from stoploss.review.words import NO_DATA, count, listed, number, quantity, share
from stoploss.spec.budgets import Budget
from stoploss.store.picture_reads import ArmPoint

MOST_ROWS = 24
CURVE_POINTS = 41
PRICED = {"lambdaCost": "cost", "lambdaRisk": "risk"}


@dataclass(frozen=True, slots=True)
class ForestRow:
    """A segment value, or everybody; lower, upper: None is no limit on that side."""

    label: str
    estimate: float | None
    lower: float | None
    upper: float | None
    verdict: str
    text: str


@dataclass(frozen=True, slots=True)
class Forest:
    """One guardrail by segment; edge: the margin, in the units of the rows. is_share: they are shares of 1."""

    key: str
    title: str
    caption: str
    unit: str
    is_share: bool
    edge: float
    rows: tuple[ForestRow, ...]
    kind: str = "forest"


@dataclass(frozen=True, slots=True)
class Curve:
    """Worth of the treatment (shares of control's quality) by a price; flips: between them its sign is not known."""

    key: str
    title: str
    caption: str
    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    at: float
    flips: tuple[float, float] | None
    kind: str = "curve"


@dataclass(frozen=True, slots=True)
class Drawings:
    """All pictures of a review; exposure None: nothing was served."""

    exposure: Picture | None
    over_time: tuple[Picture, ...]
    burn_downs: tuple[Picture, ...]
    forests: tuple[Forest, ...]
    curves: tuple[Curve, ...]

    @property
    def all(self) -> tuple[Picture | Forest | Curve, ...]:
        first = () if self.exposure is None else (self.exposure,)
        return (*first, *self.over_time, *self.burn_downs, *self.forests, *self.curves)


def exposure(commands: Sequence[CommandLine], until: datetime | None, marks: tuple[Mark, ...]) -> Picture | None:
    """The share that may get the treatment, by command; None where none was issued."""
    real = [command for command in commands if not command.dry_run]
    if not real:
        return None
    steps = [(command.decided_at, command.exposure) for command in real]
    if until is not None and until > steps[-1][0]:
        steps.append((until, steps[-1][1]))
    at, values = (tuple(column) for column in zip(*steps, strict=True))
    return Picture(
        key="exposure",
        title="Exposure over time",
        caption=f"The share of traffic that may get B; {count(len(real))} commands. A dotted line opens an epoch.",
        unit="%",
        is_share=True,
        lines=(Line("exposure", "exposure", at, values),),
        marks=marks,
        header=("exposure",),
        numbers=tuple(NumberRow(moment, (share(value),)) for moment, value in steps),
    )


# ---- budgets -------------------------------------------------------------------------------------


def burn_downs(spec: Experiment, arms: Sequence[ArmPoint], marks: tuple[Mark, ...]) -> Iterator[Picture]:
    """What the treatment left of each budget that is spent, as this run's traces say; periods are those of UTC."""
    for index, budget in enumerate(spec.spec.budgets):
        points = [arm for arm in arms if (arm.metric, arm.variant) == (budget.metric, spec.treatment.name)]
        if budget.limit is not None and points:
            yield _burn_down(index, budget, budget.limit, spec.metric(str(budget.metric)).unit, points, marks)


def _burn_down(
    index: int, budget: Budget, limit: float, unit: str, points: Sequence[ArmPoint], marks: tuple[Mark, ...]
) -> Picture:
    at = tuple(point.at for point in points)
    left = tuple(left_of(limit, budget.period, points))
    texts = [quantity(value, unit) for value in left]
    return Picture(
        key=f"budget-left-{index}",
        title=f"{budget.metric}: left of its budget",
        caption=f"{texts[-1]} of {quantity(limit, unit)} are left of the period under way; this run's traces only.",
        unit=unit,
        is_share=False,
        lines=(Line("left", "effect", at, left), Line("spent", LIMIT, at, (0.0,) * len(at))),
        marks=marks,
        header=("left",),
        numbers=tuple(NumberRow(moment, (text,)) for moment, text in zip(at, texts, strict=True))[-NUMBERS_SHOWN:],
    )


def left_of(limit: float, period_s: int, points: Sequence[ArmPoint]) -> Iterator[float]:
    """What is left after each point: a period begins anew with what was spent before it."""
    before, spent, period = 0.0, 0.0, None
    for point in points:
        now = int(point.at.timestamp()) // period_s
        if now != period:
            before, period = spent, now
        spent = point.n * (point.mean or 0.0)
        yield limit - (spent - before)


# ---- segments ------------------------------------------------------------------------------------


def forests(everybody: Sequence[GuardrailResult], segments: Sequence[GuardrailResult]) -> Iterator[Forest]:
    """One for each guardrail that has segments with numbers to show."""
    for index, result in enumerate(everybody):
        of_rule = [one for one in segments if _same_rule(one, result)]
        shown = sorted((one for one in of_rule if one.estimate is not None and not one.hidden), key=_harm)[:MOST_ROWS]
        if shown:
            yield _forest(index, result, shown, of_rule)


def _same_rule(one: GuardrailResult, other: GuardrailResult) -> bool:
    return (one.metric, one.transform, one.margin) == (other.metric, other.transform, other.margin)


def _harm(result: GuardrailResult) -> float:
    """The most harmful first."""
    return -(result.estimate or 0.0) if result.direction == "lower" else (result.estimate or 0.0)


def _forest(
    index: int, result: GuardrailResult, shown: Sequence[GuardrailResult], of_rule: Sequence[GuardrailResult]
) -> Forest:
    hidden = [str(one.segment) for one in of_rule if one.hidden]
    without = [one for one in of_rule if one.estimate is None and not one.hidden]
    told = f"{count(len(shown))} of {count(len(of_rule))} values, most harmful first; {margin_text(result)}."
    left = f" Hidden, too few traces: {listed(hidden)}." if hidden else ""
    early = f" {count(len(without))} have no estimate yet." if without else ""
    return Forest(
        key=f"forest-{index}",
        title=f"{metric_text(result)} by segment: effect of B",
        caption=told + left + early,
        unit="%" if result.relative else result.unit,
        is_share=result.relative,
        edge=result.margin if result.direction == "lower" else -result.margin,
        rows=tuple(_row(one) for one in (result, *shown)),
    )


def _row(result: GuardrailResult) -> ForestRow:
    words = NO_DATA if result.estimate is None else f"{effect_text(result.estimate, result)} ({interval_text(result)})"
    label = "everybody" if result.segment is None else result.segment
    return ForestRow(label, result.estimate, result.lower, result.upper, result.verdict, words)


# ---- prices --------------------------------------------------------------------------------------


def curves(found: Recommended | None) -> Iterator[Curve]:
    """How the worth depends on each price that weighs something; the other price stays as the spec has it."""
    if found is None:
        return
    worth = {term.what: term.estimate for term in found.terms}
    for flip in found.flips:
        term, total = worth.get(PRICED.get(flip.what, "")), worth.get("the sum")
        if flip.price and term is not None and total is not None:
            yield _curve(flip, flip.price, term, total)


def _curve(flip: FlipLine, price: float, term: float, total: float) -> Curve:
    """The sum is linear in a price: its term grows with it, the others do not know it."""
    ends = [end for end in (flip.lower, flip.upper) if end is not None and math.isfinite(end)]
    most = max([2 * price, *(1.2 * end for end in ends if end < 20 * price)])
    x = tuple(most * step / (CURVE_POINTS - 1) for step in range(CURVE_POINTS))
    return Curve(
        key=f"price-{flip.what}",
        title=f"Worth of B by {flip.what}",
        caption=f"{flip_text(flip)}. At the price of the spec, {number(price)}, the estimate is {share(total)}.",
        name=flip.what,
        x=x,
        y=tuple(total + term * (value / price - 1) for value in x),
        at=price,
        flips=(ends[0], ends[1]) if len(ends) == 2 else None,
    )

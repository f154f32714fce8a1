"""A plan as an SVG: for each guardrail and stage, from the median to four fifths, on a logarithmic axis of hours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from stoploss import drawing
from stoploss.drawing import AMBER, GREEN, INK, RED, WIDTH, text
from stoploss.planning.forecast import LONGEST_HOURS, Forecast, Plan, Reach, Stage
from stoploss.planning.tables import hours
from stoploss.review.words import share

LEFT, RIGHT, TOP, ROW, FOOT = 300, 40, 96, 26, 44
TICKS_HOURS = (1 / 60, 1 / 6, 1.0, 6.0, 24.0, 7 * 24.0, 30 * 24.0, LONGEST_HOURS)
COLOURS = {"in time": GREEN, "late": AMBER, "never": RED}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the picture."""

    forecast: Forecast
    reach: Reach | None
    stage: Stage | None
    first: bool


def picture(plan: Plan) -> str:
    """The plan's picture."""
    lines = tuple(_lines(plan))
    height = TOP + ROW * max(1, len(lines)) + FOOT
    body = [*_head(plan), *_axis(TOP + ROW * max(1, len(lines)))]
    for number, line in enumerate(lines):
        body += _row(line, TOP + ROW * number + ROW / 2)
    body.append(text(LEFT, height - 12, "bar: half to four fifths of the runs; thin mark: the stage's end", "s"))
    return drawing.document(f"{plan.experiment}: how soon harm is found", height, body)


def _lines(plan: Plan) -> Iterator[Line]:
    for forecast in plan.guardrails:
        if not forecast.reaches:
            yield Line(forecast, None, None, True)
        for number, (reach, stage) in enumerate(zip(forecast.reaches, plan.stages, strict=False)):
            yield Line(forecast, reach, stage, number == 0)


def _head(plan: Plan) -> list[str]:
    return [
        text(20, 30, f"{plan.experiment}: how soon a harm of {plan.times:g} margins is found", "h"),
        text(20, 52, plan.source if len(plan.source) < 130 else f"{plan.source[:127]}…", "s"),
        text(20, 84, "guardrail, harm", "s"),
        text(LEFT - 28, 84, "share", "s", "end"),
    ]


def _axis(bottom: float) -> Iterator[str]:
    for tick in TICKS_HOURS:
        x = _x(tick)
        yield drawing.upright(x, TOP - 6, bottom)
        yield text(x, TOP - 12, hours(tick), "s", "middle")


def _row(line: Line, y: float) -> Iterator[str]:
    colour = COLOURS[line.forecast.verdict]
    if line.first:
        yield text(20, y + 4, f"{line.forecast.watches} {line.forecast.text}")
    if line.reach is None or line.stage is None:
        yield text(LEFT, y + 4, "never", "s")
        return
    yield text(LEFT - 28, y + 4, share(line.reach.exposure), "s", "end")
    end = _x(line.stage.hours)
    yield drawing.upright(end, y - 9, y + 9, INK, 1.5)
    if line.reach.median is None:
        yield text(WIDTH - RIGHT, y + 4, "not in 90 d", "s", "end")
        return
    start = _x(line.reach.median.hours)
    stop = _x(line.reach.four_fifths.hours if line.reach.four_fifths else LONGEST_HOURS)
    width = max(stop - start, 3.0)
    yield drawing.bar(start, y, width, colour)


def _x(at_hours: float) -> float:
    """Logarithmic, from a minute to LONGEST_HOURS."""
    low, high = math.log(TICKS_HOURS[0]), math.log(TICKS_HOURS[-1])
    place = (math.log(max(at_hours, TICKS_HOURS[0])) - low) / (high - low) if at_hours > 0 else 0.0
    return LEFT + min(1.0, place) * (WIDTH - LEFT - RIGHT)

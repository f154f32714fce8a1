"""What is drawn of a run over time: each guardrail's effect with its limits, the arms, the budgets. A page draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.experiment import Experiment
from stoploss.review.chain import CommandLine, EpochLine
from stoploss.review.guardrails import GuardrailResult, effect_text, interval_text, margin_text, metric_text
from stoploss.review.words import NO_DATA, NO_LIMIT, number, quantity, share
from stoploss.store.picture_reads import ArmPoint, SaidPoint

RAISES = "set_exposure"
NUMBERS_SHOWN = 12
LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Points:
    """Of one run, in order of time."""

    said: Sequence[SaidPoint] = ()
    arms: Sequence[ArmPoint] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A series over time; role says how it is drawn: control, treatment, effect, burn or LIMIT.

    lower, upper  of each point, or empty; None: no limit, or no data
    """

    name: str
    role: str
    at: tuple[datetime, ...]
    values: tuple[float | None, ...]
    lower: tuple[float | None, ...] = ()
    upper: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a command, an epoch."""

    at: datetime
    text: str
    role: str


@dataclass(frozen=True, slots=True)
class NumberRow:
    """What the lines of a picture say at one time, as text."""

    at: datetime
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture; caption says in words what is to be seen, numbers are the newest points as text.

    is_share  values are shares of 1, to be read as percent
    """

    key: str
    title: str
    caption: str
    unit: str
    is_share: bool
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    header: tuple[str, ...]
    numbers: tuple[NumberRow, ...]
    kind: str = "time"

    @property
    def is_empty(self) -> bool:
        return all(value is None for line in self.lines if line.role != LIMIT for value in line.values)


Text = Callable[[float | None], str]


def over_time(
    spec: Experiment, guardrails: Sequence[GuardrailResult], points: Points, marks: tuple[Mark, ...]
) -> tuple[Picture, ...]:
    """Each guardrail's effect, the arms of each watched metric, each budget; none that would be empty."""
    drawn = (
        *(_effect(index, result, points.said, marks) for index, result in enumerate(guardrails)),
        *(_arms(metric, spec, points.arms, marks) for metric in watched(guardrails)),
        *_budgets(points.said, marks),
    )
    return tuple(picture for picture in drawn if not picture.is_empty)


def watched(guardrails: Sequence[GuardrailResult]) -> list[str]:
    """The metrics that have guardrails, each once."""
    return list(dict.fromkeys(guardrail.metric for guardrail in guardrails))


def marks_of(epochs: Sequence[EpochLine], commands: Sequence[CommandLine]) -> Iterator[Mark]:
    for epoch in epochs:
        yield Mark(epoch.at, f"epoch {epoch.epoch}, {share(epoch.exposure)}", "epoch")
    for command in commands:
        if command.action != RAISES:
            yield Mark(command.decided_at, command.action.replace("_", " "), "command")


def _picture(
    key: str, title: str, caption: str, unit: str, lines: Sequence[Line], marks: tuple[Mark, ...], text: Text
) -> Picture:
    told = [line for line in lines if line.role != LIMIT]
    cells = [_cells(line, text) for line in told]
    times = sorted({at for line in told for at in line.at})[-NUMBERS_SHOWN:]
    return Picture(
        key=key,
        title=title,
        caption=caption,
        unit=unit,
        is_share=unit == "%",
        lines=tuple(lines),
        marks=marks,
        header=tuple(line.name for line in told),
        numbers=tuple(NumberRow(at, tuple(column.get(at, NO_DATA) for column in cells)) for at in times),
    )


def _cells(line: Line, text: Text) -> dict[datetime, str]:
    values = [text(value) for value in line.values]
    if line.lower:
        ends = zip(values, line.lower, line.upper, strict=True)
        values = [f"{value} ({_end(low, text)} to {_end(high, text)})" for value, low, high in ends]
    return dict(zip(line.at, values, strict=True))


def _end(limit: float | None, text: Text) -> str:
    return NO_LIMIT if limit is None else text(limit)


def _effect(index: int, result: GuardrailResult, said: Sequence[SaidPoint], marks: tuple[Mark, ...]) -> Picture:
    points = [point for point in said if point.rule == f"guardrail[{index}]"]
    at = tuple(point.at for point in points)
    estimates = tuple(point.estimate for point in points)
    lower, upper = tuple(point.lower for point in points), tuple(point.upper for point in points)
    edge = result.margin if result.direction == "lower" else -result.margin
    return _picture(
        f"effect-{index}",
        f"{metric_text(result)}: effect of the treatment",
        f"{result.words}. Effect {effect_text(result.estimate, result)} ({interval_text(result)}); "
        f"{margin_text(result)}.",
        "%" if result.relative else result.unit,
        (Line("effect", "effect", at, estimates, lower, upper), Line("margin", LIMIT, at, (edge,) * len(at))),
        marks,
        lambda value: NO_DATA if value is None else effect_text(value, result),
    )


def _arms(metric: str, spec: Experiment, arms: Sequence[ArmPoint], marks: tuple[Mark, ...]) -> Picture:
    unit = spec.metric(metric).unit
    lines = []
    for role, variant in (("control", spec.control), ("treatment", spec.treatment)):
        of_arm = [arm for arm in arms if (arm.metric, arm.variant) == (metric, variant.name)]
        lines.append(Line(variant.name, role, tuple(arm.at for arm in of_arm), tuple(arm.mean for arm in of_arm)))
    newest = [f"{quantity(line.values[-1] if line.values else None, unit)} with '{line.name}'" for line in lines]
    return _picture(
        f"arms-{metric}",
        f"{metric}: mean of each variant",
        f"{' and '.join(newest)}, over the run so far.",
        unit,
        lines,
        marks,
        lambda value: quantity(value, unit),
    )


def _budgets(said: Sequence[SaidPoint], marks: tuple[Mark, ...]) -> Iterator[Picture]:
    for rule in dict.fromkeys(point.rule for point in said if point.rule.startswith("budget")):
        of_rule = [point for point in said if point.rule == rule]
        bounds = sorted({point.bound for point in of_rule if point.bound is not None})
        acting = " and ".join(f"{bound:g}" for bound in bounds)
        yield _picture(
            rule.replace("[", "-").rstrip("]"),
            f"{of_rule[-1].metric}: how fast its budget burns",
            f"{number(of_rule[-1].observed)} times as fast as planned; it acts at {acting} times.",
            "times as planned",
            [line for bound in bounds for line in _burn(of_rule, bound)],
            marks,
            number,
        )


def _burn(of_rule: Sequence[SaidPoint], bound: float) -> Iterator[Line]:
    points = [point for point in of_rule if point.bound == bound]
    at = tuple(point.at for point in points)
    yield Line(f"windows of {bound:g}", "burn", at, tuple(point.observed for point in points))
    yield Line(f"acts at {bound:g}", LIMIT, at, (bound,) * len(at))

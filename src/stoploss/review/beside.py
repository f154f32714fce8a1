"""Other experiments on the same traffic: whether this one's effect is another in each of their variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stoploss.experiment import BESIDE, Experiment
from stoploss.review.words import NO_LIMIT, quantity, share, signed
from stoploss.rules.interaction import KIND, InteractionRule, interactions_of
from stoploss.store.rows import RuleVerdict

GUARDRAIL = "guardrail["


@dataclass(frozen=True, slots=True)
class InteractionLine:
    """How the effect on a metric differs between two variants of another experiment.

    variant, first           whose effect, less whose
    relative                 the numbers are relative changes; else they are in `unit`
    estimate, lower, upper   of the difference; the limits hold at every look; None: not known yet, or no limit
    verdict                  differs, or undecided
    missing                  what it still lacks
    n                        traces of both arms in either variant; None: hidden
    """

    other: str
    variant: str
    first: str
    metric: str
    transform: str
    unit: str
    relative: bool
    verdict: str
    estimate: float | None
    lower: float | None
    upper: float | None
    missing: str
    n: tuple[int, int] | None


def interactions(experiment: Experiment, verdicts: Sequence[RuleVerdict]) -> tuple[InteractionLine, ...]:
    """Of the newest verdicts of one run, in the order of the rules."""
    rules = {rule.key: rule for rule in interactions_of(experiment)}
    rows = [row for row in verdicts if row.rule in rules]
    return tuple(_line(rules[row.rule], row, _first(row, verdicts)) for row in sorted(rows, key=_place))


def _place(row: RuleVerdict) -> tuple[int, str]:
    return int(row.rule.removeprefix(f"{KIND}[").removesuffix("]")), row.segment_value or ""


def _first(row: RuleVerdict, verdicts: Sequence[RuleVerdict]) -> str:
    """The variant that was seen first is the one that none is compared to by name: guardrails know them all."""
    mine = [one for one in verdicts if one.segment_dimension == row.segment_dimension]
    compared = {one.segment_value for one in mine if one.rule == row.rule}
    known = dict.fromkeys(one.segment_value for one in mine if one.rule.startswith(GUARDRAIL))
    left = [value for value in known if value not in compared]
    return left[0] if len(left) == 1 and left[0] else "the variant that was seen first"


def _line(rule: InteractionRule, row: RuleVerdict, first: str) -> InteractionLine:
    known = row.n_control is not None and row.n_treatment is not None and not row.hidden
    return InteractionLine(
        other=rule.dimension.removeprefix(BESIDE),
        variant=row.segment_value or "",
        first=first,
        metric=rule.plan.metric,
        transform=rule.plan.reading.transform,
        unit="" if rule.plan.binary else rule.plan.reading.unit,
        relative=rule.plan.log,
        verdict=row.verdict,
        estimate=row.estimate,
        lower=row.lower,
        upper=row.upper,
        missing="numbers hidden: too few traces" if row.hidden else row.missing,
        n=(row.n_treatment or 0, row.n_control or 0) if known else None,
    )


def difference_text(line: InteractionLine) -> str:
    """The difference with both limits.

    >>> from dataclasses import replace
    >>> line = InteractionLine(
    ...     "ranking", "v2", "v1", "latency_ms", "log", "ms", True, "differs", -0.38, -0.46, -0.28, "", (1, 2))
    >>> difference_text(line), difference_text(replace(line, estimate=None, missing="12 of 500 units"))
    ('-38 %, between -46 % and -28 %', 'not known yet: 12 of 500 units')
    """
    if line.estimate is None:
        return f"not known yet: {line.missing}" if line.missing else "not known yet"
    lower, upper = (NO_LIMIT if end is None else _amount(line, end) for end in (line.lower, line.upper))
    return f"{_amount(line, line.estimate)}, between {lower} and {upper}"


def verdict_text(line: InteractionLine) -> str:
    return "the effect differs" if line.verdict == "differs" else "no difference is shown"


def told(lines: Sequence[InteractionLine]) -> Iterator[str]:
    """Each line as a sentence without its end."""
    for line in lines:
        subject = line.metric if line.transform == "none" else f"{line.metric} ({line.transform})"
        pair = f"in {line.variant} less that in {line.first}"
        yield f"{line.other}: effect on {subject} {pair}: {difference_text(line)}; {verdict_text(line)}"


def _amount(line: InteractionLine, value: float) -> str:
    text = share(value) if line.relative else quantity(value, line.unit).strip()
    return signed(text)

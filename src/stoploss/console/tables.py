"""Rows of the tables on an experiment's page: segments by guardrail, and budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stoploss.experiment import Experiment
from stoploss.review.document import Review
from stoploss.review.guardrails import GuardrailResult, metric_text, standing_out
from stoploss.review.words import number, quantity, share
from stoploss.spec.budgets import Budget, BurnAction
from stoploss.store.rows import RuleVerdict

MOST_SEGMENTS = 50


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment value; cells in the order of the guardrails, None where none was judged."""

    segment: str
    is_stopped: bool
    cells: tuple[GuardrailResult | None, ...]


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """left_out: how many values are not shown."""

    guardrails: tuple[str, ...]
    rows: tuple[SegmentRow, ...]
    left_out: int
    minimum_cell: int


def segment_table(review: Review) -> SegmentTable | None:
    """Stopped ones first, then those whose evidence of harm stands out; None where no segment was judged."""
    if not review.segments:
        return None
    places = {_guardrail(result): index for index, result in enumerate(review.guardrails)}
    cells: dict[str, list[GuardrailResult | None]] = {}
    for result in _worst_first(review):
        row = cells.setdefault(str(result.segment), [None] * len(places))
        row[places[_guardrail(result)]] = result
    rows = [SegmentRow(name, name in review.stopped_segments, tuple(found)) for name, found in cells.items()]
    rows.sort(key=lambda row: not row.is_stopped)
    names = tuple(metric_text(result) for result in review.guardrails)
    return SegmentTable(names, tuple(rows[:MOST_SEGMENTS]), max(0, len(rows) - MOST_SEGMENTS), review.minimum_cell)


def _worst_first(review: Review) -> list[GuardrailResult]:
    worst = standing_out(review.segments)
    breaches = [result for result in review.segments if result.verdict == "breach"]
    return list(dict.fromkeys([*breaches, *worst, *review.segments]))


def _guardrail(result: GuardrailResult) -> tuple[str, str, float]:
    return result.metric, result.transform, result.margin


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One rate of one budget; observed None: not judged yet."""

    what: str
    acts: str
    observed: float | None
    bound: float
    verdict: str
    at: datetime | None

    @property
    def used(self) -> float:
        """The burn as a share of the rate at which it acts, at most 1."""
        return min(1.0, max(0.0, (self.observed or 0.0) / self.bound))


def budget_rows(spec: Experiment | None, verdicts: Sequence[RuleVerdict]) -> tuple[BudgetRow, ...]:
    """verdicts: the newest of one run."""
    return tuple(_budget_rows(spec, verdicts)) if spec else ()


def _budget_rows(spec: Experiment, verdicts: Sequence[RuleVerdict]) -> Iterator[BudgetRow]:
    said = {(row.rule, row.bound): row for row in verdicts if row.rule.startswith("budget[")}
    for index, budget in enumerate(spec.spec.budgets):
        what = _budget_text(budget, spec)
        for action in budget.actions:
            row = said.get((f"budget[{index}]", action.burn))
            observed = row.observed if row else None
            verdict = row.verdict if row else "not judged"
            yield BudgetRow(what, _acts(action), observed, action.burn, verdict, row.at if row else None)


def _budget_text(budget: Budget, spec: Experiment) -> str:
    unit, period = spec.metric(budget.watched).unit, timedelta(seconds=budget.period)
    if budget.slo is not None:
        threshold = quantity(budget.slo.threshold, unit)
        return f"{share(budget.slo.target)} of traces with {budget.watched} up to {threshold}, over {period}"
    return f"{quantity(budget.limit, unit)} of {budget.watched} in {period}"


def _acts(action: BurnAction) -> str:
    to = "" if action.to is None else f" to {share(action.to)}"
    return f"{action.do}{to} at {number(action.burn)} times as fast as planned"

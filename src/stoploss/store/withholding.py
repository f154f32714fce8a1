"""What of a measure is stored: the numbers of cells that people may not read are left out before they read anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from stoploss.commands import Segment
from stoploss.measures import ArmMeasure, Measure, VerdictMeasure
from stoploss.suppression import Arms, Cells, withheld

Line = TypeVar("Line", ArmMeasure, VerdictMeasure)
Table = dict[Segment | None, Arms]
NUMBERS = frozenset(
    ("n", "mean", "standard_deviation", "p50", "p95", "p99")
    + ("observed", "bound", "estimate", "lower", "upper", "margin", "n_control", "n_treatment")
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A line of a measure as people may read it; hidden: without its numbers."""

    columns: Mapping[str, object]
    hidden: bool


def arms_shown(measure: Measure) -> Iterator[Shown]:
    """Each arm of a measure, in order."""
    hidden = _hidden_arms(measure)
    for arm in measure.arms:
        yield _shown(arm, arm.segment in hidden[arm.metric])


def verdicts_shown(measure: Measure) -> Iterator[Shown]:
    """Each verdict of a measure, in order. A verdict has rows of its own, which may be fewer than its cell's."""
    of_arms, of_rules = _hidden_arms(measure), defaultdict[tuple[str, str | None], Table](dict)
    for verdict in measure.verdicts:
        rows = of_rules[verdict.rule, verdict.metric]
        n = (verdict.n_control, verdict.n_treatment)
        rows[verdict.segment] = min(n, rows.get(verdict.segment, n), key=min)
    hidden = {
        (rule, metric): withheld(rows, measure.minimum_cell, of_arms[metric or ""])
        for (rule, metric), rows in of_rules.items()
    }
    for verdict in measure.verdicts:
        few = verdict.segment in hidden[verdict.rule, verdict.metric]
        yield _shown(replace(verdict, missing="") if few else verdict, few)


def _hidden_arms(measure: Measure) -> defaultdict[str, Cells]:
    """Withheld cells by metric: those with few rows, and those in which few rows have a value of the metric."""
    tables = _tables(measure)
    whole: Table = {}
    for table in tables.values():
        for cell, rows in table.items():
            whole[cell] = tuple(map(max, rows, whole.get(cell, rows)))
    always = withheld(whole, measure.minimum_cell)
    found = defaultdict[str, Cells](lambda: always)
    found.update({metric: withheld(rows, measure.minimum_cell, always) for metric, rows in tables.items()})
    return found


def _tables(measure: Measure) -> dict[str, Table]:
    """Rows of each arm by metric and cell; an arm that is not measured in a cell has none there."""
    variants = sorted({arm.variant for arm in measure.arms})
    tables: dict[str, dict[Segment | None, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0] * len(variants)))
    for arm in measure.arms:
        tables[arm.metric][arm.segment][variants.index(arm.variant)] = arm.n
    return {metric: {cell: tuple(n) for cell, n in table.items()} for metric, table in tables.items()}


def _shown(line: Line, hidden: bool) -> Shown:
    columns = {field.name: getattr(line, field.name) for field in fields(line)}
    if hidden:
        columns |= dict.fromkeys(NUMBERS & columns.keys())
    return Shown(columns, hidden)

"""What a dashboard is made of: panels in rows, variables to choose by, and the views that SQL may read.

SQL reads views only, and takes the choices of the page as quoted strings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

TIMES, SHARE, USD = "suffix: ×", "percentunit", "currencyUSD"
ROWS, RUNS, EXPERIMENTS, COMMANDS = "suffix: rows", "suffix: runs", "suffix: experiments", "suffix: commands"
TRACES, REQUESTS = "suffix: traces", "suffix: requests"
RED, YELLOW, GREEN, BLUE, GREY = "red", "yellow", "green", "blue", "gray"
STATES = {
    "registered": GREY,
    "approved": GREY,
    "running": GREEN,
    "holding": YELLOW,
    "paused": YELLOW,
    "stopped": RED,
    "rolled_back": RED,
    "adopted": GREEN,
    "completed": BLUE,
    "reviewed": BLUE,
}
VERDICTS = {"breach": RED, "safe": GREEN, "ok": GREEN, "undecided": GREY}

Visual = Literal["stat", "timeseries", "table"]
Rows = dict[str, tuple["Panel", ...]]

HERE = "experiment = ${experiment:sqlstring}"
EVERYBODY = "isNull(segment_dimension)"
LAST_RUN = "run = (SELECT max(run) FROM registry_v WHERE " + HERE + ")"
BY_MINUTES = "toStartOfInterval(minute, toIntervalSecond(60 * intDiv($__interval_s + 59, 60)))"
"""The points of a series of minutes: whole ones, or their counts would swing with where a point begins."""
IN_FORCE = """(
    SELECT experiment, lifecycle, run, exposure, command_id, changed_at FROM registry_v
    ORDER BY changed_at DESC, ledger_offset DESC LIMIT 1 BY experiment
)"""
"""The registry's last entry of each experiment."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    todo      what a person does when it looks bad; shown as the panel's description
    columns   name and sort (time, text, number) of each column that the SQL gives
    steps     (from value, colour) of the thresholds, the first from below
    colours   colour by text, for columns that hold words
    units     unit of single columns, where it is not `unit`
    coloured  table columns whose cells take the colour of their value
    bars      a time series as stacked bars
    matrix    (row, column, value): columns of the SQL that the page turns into a table of rows and columns
    links     table columns that name an experiment, and lead to its page
    repeat    variable of whose every value the panel is shown once; it has its line of the page to itself
    """

    title: str
    visual: Visual
    todo: str
    sql: str
    columns: dict[str, str]
    unit: str = "short"
    width: int = 12
    height: int = 8
    steps: tuple[tuple[float | None, str], ...] = ((None, GREEN),)
    colours: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    coloured: tuple[str, ...] = ()
    bars: bool = False
    repeat: str | None = None
    matrix: tuple[str, str, str] | None = None
    links: tuple[str, ...] = ()


def columns(text: str) -> dict[str, str]:
    """
    >>> columns("time:time mean:number")
    {'time': 'time', 'mean': 'number'}
    """
    return dict(item.rsplit(":", 1) for item in text.split())


@dataclass(frozen=True, slots=True)
class Variable:
    """Something to choose at the top of a page.

    sql       gives what there is to choose from
    every     several may be chosen, and at first all are
    ranked    they stand as the SQL orders them, and the first is chosen at first; else by name
    """

    label: str
    sql: str
    every: bool = False
    ranked: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One dashboard.

    name         its file, and the end of its uid
    span         how far back it shows at first
    annotations  SQL of marks in time, by what they are called
    """

    name: str
    title: str
    description: str
    rows: Rows
    variables: dict[str, Variable] = field(default_factory=dict)
    span: str = "1h"
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows.values() for panel in row)

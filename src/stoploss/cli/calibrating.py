"""calibrate: how often the judge stops without cause on recorded requests, and how soon it finds known harm."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Group
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from stoploss.calibration.rehearsal import Ended
from stoploss.calibration.report import (
    Asked,
    Calibration,
    FalseStops,
    calibrated,
    detection_cells,
    markdown,
    method_sentences,
    rate_cells,
)
from stoploss.calibration.trials import Staging
from stoploss.cli.history import history, read_spec
from stoploss.cli.output import console, is_terminal, print_json, show, write_file
from stoploss.review.words import printable
from stoploss.settings import Settings

STYLE = {"NOT KEPT": "bold red", "kept": "green"}


def calibrate(
    settings: Settings,
    file: Path,
    requests: Path | None,
    asked: Asked,
    exposure: float | None,
    looks: int,
    seed: int,
    document: Path | None,
    as_json: bool,
) -> bool:
    """Prints what was measured; False where the data contradict a promise."""
    text, experiment = read_spec(file)
    recording = history(settings, experiment, requests, seed)
    staging = Staging(experiment, exposure or experiment.spec.ramp.stages[-1], looks, seed)
    with Progress(console=console(sys.stderr), transient=True, disable=not is_terminal()) as progress:
        found = calibrated(text, staging, recording, asked, _Watched(progress))
    if document is not None:
        write_file(document, markdown(found, f"stoploss {shlex.join(sys.argv[1:])}"))
    if as_json:
        print_json(found)
    else:
        show(view(found))
    return found.kept


class _Watched:
    """Shows how many rehearsals of a scenario have ended."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __call__(self, ended: Iterable[Ended], scenario: str, runs: int) -> Iterator[Ended]:
        task = self.progress.add_task(scenario, total=runs)
        for one in ended:
            self.progress.advance(task)
            yield one


def view(found: Calibration) -> Group:
    """What was measured, as tables."""
    parts: list[Text | Table] = [
        Text(f"{found.experiment}: false stops and delays, measured", style="bold"),
        Text(printable(found.source)),
        *map(Text, method_sentences(found)),
        *map(_false_stops, found.false_stops),
    ]
    if found.detections:
        parts.append(_detections(found))
    return Group(*parts)


def _false_stops(found: FalseStops) -> Table:
    headers = ("rule", "promised", "runs", "stopped", "measured (95 % interval)", "promise")
    table = _table(f"false stops, {found.scenario}", *headers)
    for rate in (*found.rules, found.together):
        *cells, kept = rate_cells(rate)
        table.add_row(*cells, Text(kept, style=STYLE.get(kept, "")))
    return table


def _detections(found: Calibration) -> Table:
    headers = ("harm", "runs", "found", "by its guardrail", "half of the runs", "four fifths", "exposures saved")
    table = _table("harm found", *headers)
    for detection in found.detections:
        table.add_row(*detection_cells(detection))
    return table


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table

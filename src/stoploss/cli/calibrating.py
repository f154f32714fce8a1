"""calibrate: how often the judge stops without cause on recorded requests, and how soon it finds known harm."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from stoploss.calibration.rehearsal import Ended
from stoploss.calibration.report import (
    Asked,
    Calibration,
    FalseStops,
    Play,
    calibrated,
    detection_cells,
    markdown,
    method_sentences,
    rate_cells,
)
from stoploss.calibration.trials import Staging, Trial, usual_exposure
from stoploss.cli.history import history, read_spec
from stoploss.cli.output import print_json, show, write_file
from stoploss.cli.progress import progress
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
    jobs: int | None,
    document: Path | None,
    as_json: bool,
) -> bool:
    """Prints what was measured; False where the data contradict a promise."""
    text, experiment = read_spec(file)
    recording = history(settings, experiment, requests, seed)
    staging = Staging(experiment, exposure or usual_exposure(experiment), looks, seed)
    with _players(jobs or os.cpu_count() or 1) as play:
        found = calibrated(text, staging, recording, asked, play)
    if document is not None:
        write_file(document, markdown(found, f"stoploss {shlex.join(sys.argv[1:])}"))
    if as_json:
        print_json(found)
    else:
        show(view(found))
    return found.kept


@contextmanager
def _players(jobs: int) -> Iterator[Play]:
    """Plays runs in as many processes, and shows how many have ended.

    Processes of their own begin anew (spawn): what was loaded here has threads, which no fork survives in good order.
    """
    if jobs == 1:
        yield lambda trial, runs: _watched(trial, runs, map(trial, range(runs)))
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:

        def several(trial: Trial, runs: int) -> Iterator[Ended]:
            chunk = max(1, runs // (4 * jobs))
            return _watched(trial, runs, pool.map(trial, range(runs), chunksize=chunk))

        yield several


def _watched(trial: Trial, runs: int, ended: Iterable[Ended]) -> Iterator[Ended]:
    with progress(trial.scenario.name, runs) as advance:
        for one in ended:
            advance()
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

"""shadow: what the shadow runs of an experiment show beside their live requests."""

from __future__ import annotations

from clickhouse_connect.driver.client import Client
from rich.console import Group
from rich.table import Table
from rich.text import Text

from stoploss.cli.output import print_json, show
from stoploss.cli.progress import working
from stoploss.cli.reading import stored
from stoploss.errors import InvalidExperiment, RequestRefused
from stoploss.review.errors import UnknownExperiment
from stoploss.review.words import count
from stoploss.settings import Settings
from stoploss.spec.base import duration_text, parse_duration
from stoploss.spec.file import parsed
from stoploss.store import queries
from stoploss.store.review_reads import last_entry
from stoploss.store.shadow import ShadowReport, report
from stoploss.suppression import MINIMUM_CELL


def shadow(settings: Settings, experiment: str, max_age: str, as_json: bool) -> None:
    """Pairs and their mean differences. Raises RequestRefused where the age is no duration, UnknownExperiment."""
    try:
        max_age_s = int(parse_duration(max_age))
    except ValueError as error:
        raise RequestRefused(f"--max-age: {error}") from error
    with working("pairing shadow runs"), stored(settings) as client:
        found = report(client, experiment, max_age_s, _minimum_cell(client, experiment))
        known = [] if found.runs.runs else [one.experiment for one in queries.status(client)]
    if not found.runs.runs and experiment not in known:
        raise UnknownExperiment(experiment, known)
    if as_json:
        print_json(found)
    elif not found.metrics:
        print(_sentence(experiment, found, max_age_s))
    else:
        show(Group(Text(_sentence(experiment, found, max_age_s)), _table(found)))


def _minimum_cell(client: Client, experiment: str) -> int:
    """What the spec says; where there is none that this version can read, what holds unless one says otherwise."""
    entry = last_entry(client, experiment)
    try:
        return MINIMUM_CELL if entry is None else parsed(entry.spec).spec.privacy.minimum_cell
    except InvalidExperiment:
        return MINIMUM_CELL


def _sentence(experiment: str, found: ShadowReport, max_age_s: int) -> str:
    runs = found.runs
    if not runs.runs:
        return f'{experiment}: no shadow run is stored; services send them with role="shadow" (docs/ramps.md)'
    return (
        f"{experiment}: {count(runs.runs)} shadow runs, {count(runs.pairs)} beside their live request, "
        f"{count(runs.stale)} stale (more than {duration_text(max_age_s)} apart), {count(runs.unpaired)} without one"
    )


def _table(found: ShadowReport) -> Table:
    table = Table("metric", "pairs", "live", "shadow", "shadow minus live")
    for one in found.metrics:
        numbers = ("hidden" if value is None else f"{value:.6g}" for value in (one.live, one.shadow, one.difference))
        table.add_row(one.metric, count(one.pairs), *numbers)
    return table

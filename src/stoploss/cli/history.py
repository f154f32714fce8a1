"""Where plan and calibrate read control's recorded requests: a file, or the stored traces of the experiment."""

from __future__ import annotations

from pathlib import Path

from stoploss.calibration import recording, stored
from stoploss.calibration.recording import Recording
from stoploss.cli.recorded import recorded
from stoploss.errors import ConfigurationError
from stoploss.experiment import Experiment
from stoploss.settings import Settings
from stoploss.spec.file import parse_experiment
from stoploss.store.client import connect


def read_spec(file: Path) -> tuple[str, Experiment]:
    """Raises InvalidExperiment with all that is wrong."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is no text: {error}; write it in UTF-8") from error
    return text, parse_experiment(text, str(file))


def history(settings: Settings, experiment: Experiment, requests: Path | None, seed: int) -> Recording:
    """Of the file, or else of ClickHouse; raises ConfigurationError where there is neither."""
    if requests is not None:
        if requests.is_file() and recording.is_arrivals(requests):
            return recording.of_arrivals(requests, experiment, seed)
        return recording.of_traces(recorded(requests), experiment, requests.name)
    if not settings.clickhouse_url:
        raise ConfigurationError(
            "there are no recorded requests: give a file with --requests FILE (JSONL or CSV of traces, or a log of "
            "arrivals and token counts), or set STOPLOSS_CLICKHOUSE_URL to read the experiment's stored traces"
        )
    client = connect(settings.clickhouse_url, database=settings.clickhouse_database)
    return recording.of_traces(stored.traces(client, experiment), experiment, "traces stored in ClickHouse")

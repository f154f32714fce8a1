"""plan: before the start, how soon each guardrail finds harm with this traffic, and what false stops are promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stoploss.calibration.judged import as_judged
from stoploss.calibration.report import source_sentence
from stoploss.cli.history import history, read_spec
from stoploss.cli.output import print_json, show, write_file
from stoploss.cli.progress import working
from stoploss.errors import ConfigurationError
from stoploss.experiment import Experiment
from stoploss.planning import baseline, flow
from stoploss.planning.forecast import Plan, planned
from stoploss.planning.picture import picture
from stoploss.planning.stated import Stated, baseline_of, parse_levels
from stoploss.planning.tables import plan_view
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.settings import Settings

SEED = 1


@dataclass(frozen=True, slots=True)
class Expected:
    """What the command line states of the traffic, where nothing was recorded."""

    levels: Sequence[str]
    requests_per_hour: float | None
    per_unit: float
    icc: float


def plan(
    settings: Settings,
    file: Path,
    requests: Path | None,
    expected: Expected,
    times: float,
    last_hours: float | None,
    picture_file: Path | None,
    as_json: bool,
) -> None:
    """Prints the plan, and draws it where asked to."""
    if picture_file is not None and picture_file.suffix.lower() != ".svg":
        raise ConfigurationError(f"{picture_file} is no .svg; the picture is an SVG, which browsers and documents show")
    _, experiment = read_spec(file)
    with working("planning"):
        found = _stated(experiment, expected, times, last_hours)
        found = found or _recorded(settings, experiment, requests, times, last_hours)
    if picture_file is not None:
        write_file(picture_file, picture(found))
    if as_json:
        print_json(found)
    else:
        show(plan_view(found))


def _stated(experiment: Experiment, expected: Expected, times: float, last_hours: float | None) -> Plan | None:
    """The plan for stated traffic; None where none is stated."""
    if expected.requests_per_hour is None:
        if expected.levels:
            raise ConfigurationError("--baseline needs --requests-per-hour, the traffic that it is met with")
        return None
    levels = parse_levels(expected.levels, experiment)
    stated = Stated(levels, expected.requests_per_hour, expected.per_unit, expected.icc)
    baselines = {p.index: baseline_of(stated, p) for p in _guardrails(experiment)}
    return planned(experiment, stated.flow, baselines, source=stated.text, times=times, last_hours=last_hours)


def _recorded(
    settings: Settings, experiment: Experiment, file: Path | None, times: float, last_hours: float | None
) -> Plan:
    recording = history(settings, experiment, file, SEED)
    requests = recording.requests
    baselines = {p.index: baseline.recorded(requests, as_judged(requests, p)) for p in _guardrails(experiment)}
    came = f"{len(requests):,} requests of {requests.distinct_units:,} units in {requests.hours:.3g} h"
    source = f"{source_sentence(recording)}; {came}"
    return planned(experiment, flow.recorded(requests), baselines, source=source, times=times, last_hours=last_hours)


def _guardrails(experiment: Experiment) -> list[GuardrailPlan]:
    return [GuardrailPlan.of(experiment, index, one) for index, one in enumerate(experiment.spec.guardrails)]

"""Recorded requests read by intake's own core, as if the control variant had served each of them.

Calibration asks how often the judge stops a treatment that is the control under another name, so every request counts
as one of control: gates, personal data and metrics are judged by what control declares. Requests that the experiment's
treatment served are left out: they are what is to be judged, not what to judge by.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stoploss.calibration.requests import SOURCE, Requests, of_projected
from stoploss.errors import ConfigurationError
from stoploss.experiment import Experiment
from stoploss.intake.pipeline import read_traces
from stoploss.intake.results import Fetched, IntakeResult
from stoploss.intake.watched import Watched
from stoploss.simulate.arrivals import INPUT, OUTPUT, TIME, read_arrivals
from stoploss.simulate.assign import arms_of
from stoploss.simulate.traffic import Traffic
from stoploss.wire.traces import decode_values

SALT = b"calibration"
LEAST_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class Recording:
    """Requests of the control variant, and where they come from.

    source    in words, with what of it was drawn and not recorded
    left_out  requests that the treatment served
    refused   requests that intake would not judge; why: the first one's reason
    """

    requests: Requests
    source: str
    left_out: int = 0
    refused: int = 0
    why: str = ""


def of_traces(values: Iterable[bytes], experiment: Experiment, source: str) -> Recording:
    """JSON objects with the fields of schemas/trace.avsc; raises ConfigurationError where too few can be judged."""
    parsed = [json.loads(value) for value in values]
    control = [trace for trace in parsed if not _is_treated(trace, experiment)]
    assigned = [_encoded(trace, experiment) for trace in control]
    result = _taken_in(assigned, experiment)
    why = _first_reason(result)
    rows = result.rows.get(experiment.name)
    judged = rows.rows if rows else 0
    if rows is None or judged < LEAST_REQUESTS:
        raise ConfigurationError(
            f"{source} has {judged:,} requests of the control variant that can be judged"
            + (f" (of the first refused: {why})" if why else "")
            + f"; give at least {LEAST_REQUESTS}"
        )
    return Recording(of_projected(rows), source, len(parsed) - len(control), len(control) - judged, why)


def is_arrivals(file: Path) -> bool:
    """Whether a file is a log of arrivals and token counts, by its first line."""
    if file.suffix.lower() != ".csv":
        return False
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        names = [name.strip() for name in lines.readline().split(",")]
    return {TIME, INPUT, OUTPUT} <= set(names)


def of_arrivals(file: Path, experiment: Experiment, seed: int) -> Recording:
    """A log of arrivals and token counts; all else about its requests is drawn from the seed, and said so."""
    arrivals = read_arrivals(file)
    arms = (arms_of(experiment, exposure=0.0),)
    traffic = Traffic(seed=seed, arms=arms, arrivals=arrivals, starts_at=arrivals.first_at)
    values = (json.dumps(simulated.trace).encode() for simulated in traffic.traces())
    return of_traces(values, experiment, arrivals.label)


def _is_treated(trace: dict[str, Any], experiment: Experiment) -> bool:
    """Assignments may be written as a list; of anything else intake says what is wrong."""
    assigned = trace.get("assignments")
    own = [a for a in assigned if isinstance(a, dict)] if isinstance(assigned, list) else []
    return any(a.get("experiment") == experiment.name and a.get("variant") != experiment.control.name for a in own)


def _encoded(trace: dict[str, Any], experiment: Experiment) -> bytes:
    assignment = {"experiment": experiment.name, "variant": experiment.control.name, "consent": True}
    return json.dumps(trace | {"assignments": [assignment]}).encode()


def _taken_in(values: list[bytes], experiment: Experiment) -> IntakeResult:
    """As intake takes them in when they are new: a record's broker time is its own, and now is the newest one's."""
    decoded = decode_values(values, "trace")
    sent_ms = dict(zip(decoded.positions.tolist(), (decoded.frame["at"] // 1_000).to_list(), strict=True))
    stamps_ms = [int(sent_ms.get(offset, 0)) for offset in range(len(values))]
    now = 1_000 * max(sent_ms.values(), default=0) + 1_000
    control, treatment = (watched := Watched.of(experiment, 0)).arms
    alike = replace(watched, arms=(control, replace(control, name=treatment.name)))
    fetched = Fetched(SOURCE, range(len(values)), values, stamps_ms)
    [result] = read_traces([fetched], {experiment.name: alike}, salt=SALT, now_micros=now)
    return result


def _first_reason(result: IntakeResult) -> str:
    if result.rejects:
        return result.rejects[0].reason
    late: Iterator[str] = (str(reason) for reason in result.clean["quarantined"].drop_nulls())
    return next(late, "")

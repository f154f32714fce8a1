"""Records of one source partition alone: most tests need no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stoploss.intake.pipeline import read_outcomes, read_traces
from stoploss.intake.results import Fetched, IntakeResult, RawRecord
from stoploss.intake.watched import Watched
from stoploss.ledger import Source


def process_traces(
    records: Sequence[RawRecord], source: Source, watched: Mapping[str, Watched], **given: Any
) -> IntakeResult:
    [result] = read_traces([Fetched.of(source, records)], watched, **given)
    return result


def process_outcomes(
    records: Sequence[RawRecord], source: Source, watched: Mapping[str, Watched], **given: Any
) -> IntakeResult:
    [result] = read_outcomes([Fetched.of(source, records)], watched, **given)
    return result

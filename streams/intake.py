"""Intake: traces into the ledger. Decoded, validated, scanned, masked, quantised and projected per experiment."""

from __future__ import annotations

import functools

from stoploss.intake.pipeline import read_traces
from stoploss.intake.repeats import Remembered
from stoploss.settings import Settings
from streams.app import App
from streams.feeding import Feeder
from streams.schema_registry import resolver_of


def build(settings: Settings, salt: bytes) -> App:
    process = functools.partial(read_traces, resolve=resolver_of(settings), seen=Remembered())
    return Feeder(settings, "intake", {"traces": process}, "traces", salt).app

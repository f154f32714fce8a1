"""Intake: traces into the ledger. Decoded, validated, scanned, masked, quantised and projected per experiment."""

from __future__ import annotations

from stoploss.intake.pipeline import process_traces
from stoploss.settings import Settings
from streams.app import App
from streams.feeding import Feeder


def build(settings: Settings, salt: bytes) -> App:
    return Feeder(settings, "intake", "traces", "traces", process_traces, salt).app

"""Joiner: outcomes into the ledger, where they carry the context of their trace; bare ones are dead letters for now."""

from __future__ import annotations

from stoploss.intake.pipeline import process_outcomes
from stoploss.settings import Settings
from streams.app import App
from streams.feeding import Feeder


def build(settings: Settings, salt: bytes) -> App:
    return Feeder(settings, "joiner", "outcomes", "outcomes", process_outcomes, salt).app

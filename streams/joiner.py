"""Joiner: outcomes into the ledger, where they carry the context of their trace; bare ones are dead letters for now."""

from __future__ import annotations

import functools

from stoploss.intake.pipeline import process_outcomes
from stoploss.settings import Settings
from streams.app import App
from streams.feeding import Feeder
from streams.schema_registry import resolver_of


def build(settings: Settings, salt: bytes) -> App:
    process = functools.partial(process_outcomes, resolve=resolver_of(settings))
    return Feeder(settings, "joiner", "outcomes", "outcomes", process, salt).app

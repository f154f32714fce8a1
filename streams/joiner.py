"""Joiner: outcomes into the ledger. Bare ones it leaves to the resolver, and takes what that gives back."""

from __future__ import annotations

import functools

from stoploss.intake.pipeline import read_outcomes
from stoploss.settings import Settings
from streams.app import App
from streams.feeding import Feeder
from streams.schema_registry import resolver_of


def build(settings: Settings, salt: bytes) -> App:
    process = functools.partial(read_outcomes, resolve=resolver_of(settings))
    sources = {"outcomes": process, "outcomes_resolved": functools.partial(process, looked_up=True)}
    return Feeder(settings, "joiner", sources, "outcomes", salt).app

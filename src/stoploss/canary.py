"""The canary: a synthetic trace in every source partition, every few seconds, that must come out of the ledger again.

It goes the way of all traces: topic, intake, ledger. Each ledger partition has an experiment of its own for it, which
nobody registers: its name is reserved, intake knows it by itself, and the judge keeps no more of it than how far it
has heard it. So it stands in no registry and no journal, and nobody takes it for an experiment of theirs.
"""

from __future__ import annotations

PREFIX = "stoploss-canary-"
VARIANT = "canary"
SERVICE = "stoploss-canary"


def canary_of(partition: int) -> str:
    """The experiment whose rows a ledger partition hears its canary by.

    >>> canary_of(3)
    'stoploss-canary-3'
    """
    return f"{PREFIX}{partition}"


def is_canary(experiment: str) -> bool:
    return experiment.startswith(PREFIX)

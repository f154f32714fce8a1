"""The names that a template may use of a command."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from math import floor
from typing import Any

from stoploss.commands import Command
from stoploss.control.rfc3339 import rfc3339

PARTS = 100_000
ROUNDING = 1e-6
"""0.29 * 100,000 is a little less than 29,000."""


def treatment_parts(command: Command, *, closed: bool) -> int:
    """How many of 100,000 units get the treatment, rounded down: too few is safe.

    closed  somebody has to be kept out whom the receiver cannot tell apart, so nobody gets it
    """
    if closed:
        return 0
    if command.exposure <= 0:
        return PARTS if command.release_variant == command.treatment_variant else 0
    return min(PARTS, floor(command.exposure * PARTS + ROUNDING))


def _whole(value: float) -> int | float:
    """JSON tells 5 from 5.0, and so do some vendors."""
    return int(value) if value == int(value) else value


OF_COMMAND: Mapping[str, Callable[[Command], Any]] = {
    "command_id": lambda command: command.command_id,
    "experiment": lambda command: command.experiment,
    "run": lambda command: command.run,
    "epoch": lambda command: command.epoch,
    "sequence": lambda command: command.sequence,
    "action": lambda command: command.action.value,
    "flag": lambda command: command.flag,
    "release_variant": lambda command: command.release_variant,
    "control_variant": lambda command: command.control_variant,
    "treatment_variant": lambda command: command.treatment_variant,
    "exposure": lambda command: _whole(command.exposure),
    "reason": lambda command: command.reason,
    "needs_consent": lambda command: command.needs_consent,
    "decided_at": lambda command: rfc3339(command.decided_at),
    "stopped_segments": lambda command: [
        {"dimension": segment.dimension, "value": segment.value} for segment in command.stopped_segments
    ],
}

OF_SPLIT: Mapping[str, Callable[[int], Any]] = {
    "share": lambda parts: _whole(parts / PARTS),
    "percent": lambda parts: _whole(parts / 1_000),
    "permille": lambda parts: parts // 100,
    "per_100000": lambda parts: parts,
}

SPLIT_NAMES = tuple(f"{arm}_{unit}" for arm in ("treatment", "control") for unit in OF_SPLIT)
COMMAND_NAMES = frozenset((*OF_COMMAND, *SPLIT_NAMES))


def names_of(command: Command, *, closed: bool) -> dict[str, Any]:
    """Every name with its value; of each unit, treatment and control add up to the whole.

    closed  see `treatment_parts`; the command then says that everybody gets the control variant
    """
    parts = treatment_parts(command, closed=closed)
    if closed:
        command = dataclasses.replace(command, exposure=0.0, release_variant=command.control_variant)
    names = {name: read(command) for name, read in OF_COMMAND.items()}
    for unit, of in OF_SPLIT.items():
        names[f"treatment_{unit}"] = of(parts)
        names[f"control_{unit}"] = of(PARTS - parts)
    names["control_permille"] = 1_000 - names["treatment_permille"]
    return names

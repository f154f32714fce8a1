"""An actuator that says what another would do, and does nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from stoploss.commands import Command
from stoploss.control.controller import Actuator


class Describing(Actuator, Protocol):
    def describe(self, command: Command) -> str:
        """What `apply` would do; raises StoplossError or OSError where it could not be done."""
        ...


class DryRun:
    """Around a controller's actuator. Such a controller must not ack: nothing was applied."""

    def __init__(self, actuator: Describing, say: Callable[[str], object]) -> None:
        self._actuator, self._say = actuator, say

    def apply(self, command: Command) -> None:
        told = self._actuator.describe(command)
        self._say(
            f"dry run, {command.experiment} run {command.run}, {command.action.value}: {command.reason}\n{told}\n"
        )

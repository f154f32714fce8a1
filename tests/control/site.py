"""One controller over a directory that outlives it, as its tests drive it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoploss.commands import Ack, Command
from stoploss.control.controller import Controller
from stoploss.control.flagd import FlagdFile
from stoploss.control.messages import CommandMessage, write_command
from stoploss.control.position import PositionFile
from stoploss.signing import Signer, Verifier

from .orders import NOW


@dataclass
class Site:
    """One controller over a directory that outlives it."""

    directory: Path
    signer: Signer
    verifier: Verifier
    now: int = NOW
    controller: Controller = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    @property
    def flags(self) -> Path:
        return self.directory / "flags.json"

    @property
    def positions(self) -> Path:
        return self.directory / "positions.json"

    def restart(self) -> None:
        self.controller = Controller(
            name="flagd",
            instance="a",
            actuator=FlagdFile(self.flags),
            verifier=self.verifier,
            positions=PositionFile(self.positions),
            clock=lambda: self.now,
        )

    def message(self, command: Command) -> CommandMessage:
        return write_command(command, self.signer, "test")

    def send(self, command: Command, signer: Signer | None = None) -> list[Ack]:
        return self.controller.handle(write_command(command, signer or self.signer, "test"))

    def catch_up(self, *commands: Command, in_force: dict[str, str] | None = None) -> list[Ack]:
        return self.controller.catch_up([self.message(command) for command in commands], in_force or {})

    def flag(self) -> Any:
        return json.loads(self.flags.read_text())["flags"]["checkout-model"]

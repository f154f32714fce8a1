"""What the witness knows of one experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stoploss import journal
from stoploss.commands import Command
from stoploss.registry import RegistryEntry
from tests.simulation.expected import Expected

if TYPE_CHECKING:
    from tests.simulation.services import Place


@dataclass(slots=True)
class Issued:
    """A command as the control topic has it, and whether a person, or the pre-approved ramp, stands behind it."""

    command: Command
    value: bytes
    allowed: bool


@dataclass(slots=True)
class Told:
    """What the witness knows of one experiment.

    folded, commands       as a fresh fold of the ledger has them
    published, issued      as committed on their topics
    counted                places of the rows that no earlier block had, in the order of the ledger
    """

    folded: list[bytes] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    published: int = 0
    chain: str = journal.GENESIS
    at: int = 0
    issued: list[Issued] = field(default_factory=list)
    counted: dict[Place, None] = field(default_factory=dict)
    seen: set[tuple[int, int | None]] = field(default_factory=set)
    repeated: int = 0
    expected: Expected = field(default_factory=Expected)
    registered_us: int | None = None
    last: RegistryEntry | None = None

    def is_repeated(self, trace: int, at: int | None) -> bool:
        """Whether a trace, or what happened to it at that time, was counted before; from now on it was."""
        seen, before = (trace, at), (trace, at) in self.seen
        self.seen.add(seen)
        return before


def name_of(command: Command) -> str:
    return f"{command.action} {command.run}.{command.sequence} of {command.experiment} ({command.command_id[:8]})"

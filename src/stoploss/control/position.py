"""What a controller has applied last, per experiment, kept in a file that survives it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoploss.commands import Action, Command, Segment
from stoploss.control.files import replace_file
from stoploss.errors import SnapshotUnreadable

FORMAT = 1
LATCHING = frozenset({Action.STOP, Action.ROLLBACK})


@dataclass(frozen=True, slots=True)
class Position:
    """The last applied command of an experiment and the state it left.

    latched  stopped or rolled back: within this run nothing raises exposure again
    """

    run: int
    sequence: int
    command_id: str
    release_variant: str
    exposure: float
    stopped_segments: tuple[Segment, ...]
    latched: bool


def position_after(command: Command, before: Position | None) -> Position:
    """Where a controller stands once it has applied a command."""
    still_latched = before is not None and before.latched and before.run == command.run
    return Position(
        run=command.run,
        sequence=command.sequence,
        command_id=command.command_id,
        release_variant=command.release_variant,
        exposure=command.exposure,
        stopped_segments=command.stopped_segments,
        latched=still_latched or command.action in LATCHING,
    )


class PositionFile:
    """Positions by experiment, in one JSON file that is replaced whole; one controller owns it."""

    def __init__(self, path: Path) -> None:
        """Reads what is there; raises SnapshotUnreadable where the file is not what `save` wrote."""
        self._path = path
        self._positions = _read(path)

    def all(self) -> dict[str, Position]:
        return dict(self._positions)

    def save(self, experiment: str, position: Position) -> None:
        """Durable when it returns; raises OSError, and then nothing has changed."""
        if self._positions.get(experiment) == position:
            return
        positions = {**self._positions, experiment: position}
        replace_file(self._path, _dump(positions), mode=0o600)
        self._positions = positions


def _dump(positions: Mapping[str, Position]) -> bytes:
    experiments = {name: dataclasses.asdict(position) for name, position in sorted(positions.items())}
    return json.dumps({"format": FORMAT, "experiments": experiments}, indent=1, ensure_ascii=False).encode()


def _read(path: Path) -> dict[str, Position]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        return _parse(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotUnreadable(
            f"the controller's position file {path} is unreadable ({error}); restore it, or delete it: "
            "the controller then reads the whole control topic again"
        ) from error


def _parse(document: dict[str, Any]) -> dict[str, Position]:
    if document["format"] != FORMAT:
        raise ValueError(f"its format is {document['format']!r}, this version reads {FORMAT}")
    return {name: _position(fields) for name, fields in document["experiments"].items()}


def _position(fields: dict[str, Any]) -> Position:
    segments = tuple(Segment(**segment) for segment in fields["stopped_segments"])
    position = Position(**{**fields, "stopped_segments": segments})
    for name, kind in _KINDS.items():
        if type(getattr(position, name)) not in kind:
            raise ValueError(f"{name} of {position} is of the wrong type")
    return position


_KINDS: dict[str, tuple[type, ...]] = {
    "run": (int,),
    "sequence": (int,),
    "command_id": (str,),
    "release_variant": (str,),
    "exposure": (float, int),
    "latched": (bool,),
}
"""JSON's own types, exactly: a boolean is no number here."""

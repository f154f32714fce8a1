"""What a controller has applied last, per experiment, kept in a file that survives it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoploss.commands import BREAK_GLASS_SEQUENCE, Action, Command, Micros, Segment
from stoploss.control.files import replace_file
from stoploss.errors import SnapshotUnreadable

FORMAT = 1
LATCHING = frozenset({Action.STOP, Action.ROLLBACK})


@dataclass(frozen=True, slots=True)
class Position:
    """The last applied command of an experiment and the state it left.

    latched   stopped or rolled back: within this run nothing raises exposure again
    glass_id  a person's command that stopped it past the monitor; None: there is none since the last resume
    glass_at  when it was given, microseconds since 1970-01-01 UTC: only a later resume ends it
    """

    run: int
    sequence: int
    command_id: str
    release_variant: str
    exposure: float
    stopped_segments: tuple[Segment, ...]
    latched: bool
    glass_id: str | None = None
    glass_at: Micros = 0


def position_after(command: Command, before: Position | None) -> Position:
    """Where a controller stands once it has applied a command."""
    if command.breaks_glass:
        return _behind_glass(command, before)
    same_run = before is not None and before.run == command.run
    still_latched = before is not None and before.latched and same_run
    return Position(
        run=command.run,
        sequence=command.sequence,
        command_id=command.command_id,
        release_variant=command.release_variant,
        exposure=command.exposure,
        stopped_segments=command.stopped_segments,
        latched=still_latched or command.action in LATCHING,
        glass_id=before.glass_id if before is not None and same_run else None,
        glass_at=before.glass_at if before is not None and same_run else 0,
    )


def _behind_glass(command: Command, before: Position | None) -> Position:
    """The monitor's place in its own order stays as it was: what it sends later is still told from what it sent."""
    return Position(
        run=command.run,
        sequence=before.sequence if before is not None and before.run == command.run else BREAK_GLASS_SEQUENCE,
        command_id=before.command_id if before is not None else "",
        release_variant=command.release_variant,
        exposure=command.exposure,
        stopped_segments=command.stopped_segments,
        latched=True,
        glass_id=command.command_id,
        glass_at=command.decided_at,
    )


class PositionFile:
    """Positions by experiment, in one JSON file that is replaced whole; one controller owns it."""

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        """Reads what is there; raises SnapshotUnreadable where the file is not what `save` wrote.

        writes  False: a dry run, which begins where the controller stands and leaves the file as it is
        """
        self._path, self._writes = path, writes
        self._positions = _read(path)
        self._written = {name: _fields(position) for name, position in self._positions.items()}

    def all(self) -> dict[str, Position]:
        return dict(self._positions)

    def save(self, experiment: str, position: Position) -> None:
        """Durable when it returns; raises OSError, and then nothing has changed."""
        if self._positions.get(experiment) == position:
            return
        written = {**self._written, experiment: _fields(position)}
        if self._writes:
            replace_file(self._path, _dump(written), mode=0o600)
        self._positions, self._written = {**self._positions, experiment: position}, written


def _dump(experiments: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Without indentation: json writes that in Python, which takes longer than the disk where there are hundreds."""
    return json.dumps({"format": FORMAT, "experiments": experiments}, sort_keys=True, ensure_ascii=False).encode()


def _fields(position: Position) -> dict[str, Any]:
    """Without those of broken glass where there is none: the version before knows nothing of them."""
    fields = dataclasses.asdict(position)
    return {name: value for name, value in fields.items() if position.glass_id or not name.startswith("glass_")}


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
    "glass_id": (str, type(None)),
    "glass_at": (int,),
}
"""JSON's own types, exactly: a boolean is no number here."""

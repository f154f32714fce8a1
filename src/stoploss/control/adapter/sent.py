"""Which commands' events went out: so that an event is not sent again after a restart."""

from __future__ import annotations

import json
from pathlib import Path

from stoploss.control.files import replace_file
from stoploss.errors import SnapshotUnreadable


class Sent:
    """The last command of each experiment, in one JSON file that is replaced whole. Controllers go forward only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = _read(path)

    def has(self, experiment: str, command_id: str) -> bool:
        return self._last.get(experiment) == command_id

    def note(self, experiment: str, command_id: str) -> None:
        """Durable when it returns."""
        last = {**self._last, experiment: command_id}
        replace_file(self._path, json.dumps(last, indent=2, sort_keys=True).encode() + b"\n", mode=0o600)
        self._last = last


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _unreadable(path, str(error)) from None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise _unreadable(path, "it is no object of command ids")
    return found


def _unreadable(path: Path, why: str) -> SnapshotUnreadable:
    return SnapshotUnreadable(
        f"the file of sent commands {path} is unreadable ({why}); restore it, or delete it: "
        "the last command of each experiment is then sent once more"
    )

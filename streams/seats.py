"""Seats: which members of a group ran in this home, and which of them died there.

A process that is killed says nothing to its group. The coordinator waits a whole session for it, and nobody reads its
partitions meanwhile. What it leaves behind is its seat: a file with the id by which the group knew it, and no lock, for
a lock goes with its process. Whoever starts next in that home tells the group so (`member.py`). One that is alive,
frozen ones too, holds its lock and keeps its membership, however many workers share the home. On a shared disk without
locks one that is alive may be let go by another machine: it joins anew, as after any rebalance.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

ID_BYTES_MAX = 4096


class Seat:
    """A place among the members of one group that run in one home; taken until the process ends."""

    def __init__(self, file: int, died: list[str]) -> None:
        self._file = file
        self.died = died

    @classmethod
    def take(cls, folder: Path) -> Self:
        """The first free one. `died` are the ids of all that had a seat and are no more. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        mine: int | None = None
        died: list[str] = []
        number = 0
        while mine is None or (folder / str(number)).exists():
            file = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            number += 1
            if not _locked(file):
                os.close(file)
                continue
            if member_id := _read(file):
                died.append(member_id)
            if mine is None:
                mine = file
            else:
                os.close(file)
        return cls(mine, died)

    def note(self, member_id: str) -> None:
        """What the group calls who sits here."""
        text = member_id.encode() + b"\n"
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: int) -> str:
    return os.pread(file, ID_BYTES_MAX, 0).partition(b"\n")[0].decode(errors="replace")

"""Seats: which members of a group ran in this home, and which of them died there.

A process that is killed says nothing to its group. The coordinator waits a whole session for it, and nobody reads its
partitions meanwhile. What it leaves behind is its seat: a file with the id by which the group knew it, and no lock, for
a lock goes with its process. Whoever starts next in that home tells the group so (`member.py`). One that is alive,
frozen ones too, holds its lock and keeps its membership, however many workers share the home.

A shared disk may know no locks beyond its machine, so only who died since the machine was started is told of. Whom the
group has not been told of yet stands in the seat of whoever is about to: it may be killed before it does.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Self

from stoploss.locks import try_lock

SEAT_BYTES_MAX = 64 * 1024
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Seat:
    """A place among the members of one group that run in one home; taken until the process ends.

    died  ids of those who had a seat, are no more, and of whom the group has not been told
    """

    def __init__(self, file: int, died: list[str]) -> None:
        self._file = file
        self._member: str | None = None
        self.died = died

    @classmethod
    def take(cls, folder: Path) -> Self:
        """The first free one. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        free: list[int] = []
        number = 0
        while not free or (folder / str(number)).exists():
            file = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            number += 1
            if try_lock(file):
                free.append(file)
            else:
                os.close(file)
        mine, *others = free
        seat = cls(mine, [member_id for file in free for member_id in _read(file)])
        seat._write()
        for file in others:
            os.ftruncate(file, 0)
            os.close(file)
        return seat

    def note(self, member_id: str) -> None:
        """What the group calls who sits here. Raises OSError."""
        self._member = member_id
        self._write()

    def told(self, member_id: str) -> None:
        """The group knows that this one is no more. Raises OSError."""
        self.died.remove(member_id)
        self._write()

    def _write(self) -> None:
        ids = self.died if self._member is None else [self._member, *self.died]
        text = "".join(f"{_boot()} {member_id}\n" for member_id in ids).encode()
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


def _read(file: int) -> list[str]:
    """Ids of this machine's members since it was started; the last line may not have been written to its end."""
    lines = os.pread(file, SEAT_BYTES_MAX, 0).decode(errors="replace").splitlines(keepends=True)
    found = (line.rstrip("\n").partition(" ") for line in lines if line.endswith("\n"))
    return [member_id for boot, _, member_id in found if boot == _boot() and member_id]


def _boot() -> str:
    """This machine since it was started."""
    return BOOT.read_text().strip() if BOOT.exists() else socket.gethostname()

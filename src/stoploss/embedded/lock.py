"""One owner per data directory.

The lock is an flock on DIRECTORY/lock. Its descriptor is handed down to the guard and to the server, so the lock
is held exactly as long as one of them lives, however the process that started them ended.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from stoploss.errors import EmbeddedUnavailable
from stoploss.locks import try_lock

LOCK_FILE = "lock"
STOPPING = "stopping"
POLL_S = 0.05
GRACE_TO_SAY_STOPPING_S = 1.0


def acquire(directory: Path, *, title: str, wait_s: float) -> int:
    """The descriptor of the lock, with this process written into it as the owner.

    An owner that is stopping is waited for, up to `wait_s` seconds; a running one is not.
    Raises EmbeddedUnavailable that names the owner.
    """
    path = directory / LOCK_FILE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    started = time.monotonic()
    while not try_lock(descriptor):
        owner, stopping = read_owner(path)
        # A killed owner's guard needs a moment to notice and to write that it is stopping.
        if time.monotonic() - started > (wait_s if stopping else GRACE_TO_SAY_STOPPING_S):
            os.close(descriptor)
            raise EmbeddedUnavailable(
                f"{title} cannot use {directory}: process {owner} uses it; stop that one, or give another directory"
            )
        time.sleep(POLL_S)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def say_stopping(descriptor: int) -> None:
    """Tell whoever waits for the directory that it will be free in a moment."""
    os.pwrite(descriptor, f"{STOPPING}\n".encode(), os.fstat(descriptor).st_size)


def read_owner(path: Path) -> tuple[str, bool]:
    """(process id of the owner, whether it is stopping)."""
    words = path.read_text(encoding="ascii").split()
    return (words[0] if words else "unknown"), STOPPING in words

"""Locks that end with their process, however it ends."""

from __future__ import annotations

import fcntl


def try_lock(descriptor: int) -> bool:
    """An flock on an open file, held until its last descriptor is closed; False: another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Watching processes from the outside."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 40.0


def wait_until(condition: Callable[[], bool], *, what: str) -> None:
    """Wait for a condition; the time limit only bounds a failure."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {PATIENCE_S:.0f} s still not so: {what}")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """A process that ended but that nobody has waited for is not alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not (sys.platform == "linux" and _state(pid) in ("Z", "X", ""))


def wait_until_gone(*pids: int) -> None:
    wait_until(lambda: not any(is_alive(pid) for pid in pids), what=f"processes {pids} are gone")


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _state(pid: int) -> str:
    try:
        return _stat(pid)[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the command's name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

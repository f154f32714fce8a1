"""The owner's handle on a server under its guard."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GUARD_MODULE = "stoploss.embedded.guard"
GUARD_MARGIN_S = 5.0
TAIL_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class GuardedProcess:
    """A running server: `pid` is the server's, the guard stands between it and this process."""

    pid: int
    log_path: Path
    grace_s: float
    guard: subprocess.Popen[bytes]

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.guard.poll()

    def stop(self) -> None:
        """Stop the server in order; after the grace period by force. Returns when it is gone."""
        if self.guard.stdin:
            self.guard.stdin.close()
        try:
            self.guard.wait(self.grace_s + GUARD_MARGIN_S)
        except subprocess.TimeoutExpired:
            self.guard.kill()
            self.guard.wait()

    def log_tail(self, lines: int = 8) -> str:
        return tail(self.log_path, lines)


def start_guarded(
    command: Sequence[str], *, log_path: Path, lock_descriptor: int, grace_s: float, environment: Mapping[str, str]
) -> GuardedProcess:
    """Start `command` under a guard that holds the directory's lock with it. Its output goes to `log_path`."""
    with log_path.open("ab") as log:
        guard = subprocess.Popen(
            [sys.executable, "-P", "-m", GUARD_MODULE, str(grace_s), str(lock_descriptor), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(lock_descriptor,),
            env={**os.environ, **environment},
            start_new_session=True,
        )
    return GuardedProcess(pid=_server_pid(guard), log_path=log_path, grace_s=grace_s, guard=guard)


def tail(path: Path, lines: int) -> str:
    """The last lines of a log that say something: no blank ones, no frames of a Java stack."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        text = file.read().decode(errors="replace")
    telling = [line for line in text.splitlines() if line.strip() and not line.startswith(("\tat ", "\t... "))]
    return "\n".join(telling[-lines:])


def _server_pid(guard: subprocess.Popen[bytes]) -> int:
    """The guard's first and only line; 0 if it could not start the server, which then shows as its exit."""
    if guard.stdout is None:
        raise AssertionError("the guard was started without a pipe for its output")
    with guard.stdout:
        return int(guard.stdout.readline() or 0)

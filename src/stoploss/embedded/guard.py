"""A small process between an owner and a server, so that the server never outlives its owner.

    python -m stoploss.embedded.guard GRACE_S LOCK_FD COMMAND...

The guard starts COMMAND and prints its process id. It stops the server (SIGTERM, after GRACE_S seconds SIGKILL)
as soon as its standard input ends, which happens however the owner dies; a fork of the owner may keep that pipe
open, so a change of its parent counts too. It lives in a session of its own: Ctrl-C reaches the owner alone, and
the owner stops the server in order. Should the guard itself be killed, Linux kills the server with it
(PR_SET_PDEATHSIG); other systems have nothing like it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from types import FrameType

from stoploss.embedded.lock import say_stopping

PR_SET_PDEATHSIG = 1
PARENT_CHECK_S = 1.0
STANDARD_INPUT = 0


def main(arguments: list[str]) -> int:
    grace_s, lock_descriptor, *command = arguments
    asked = _listen_for_signals()
    child = _start(command, int(lock_descriptor))
    print(child.pid, flush=True)  # noqa: T201 (the owner reads it)
    sys.stdout.close()
    _wait_for_a_reason_to_stop(child, asked)
    say_stopping(int(lock_descriptor))
    return _stop(child, float(grace_s))


def _listen_for_signals() -> int:
    """A descriptor that becomes readable at the first signal. SIGCHLD wakes the guard when the server ends."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, _note)
    return read_end


def _note(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor carries the signal; the handler only keeps it from killing the guard."""


def _start(command: list[str], lock_descriptor: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        pass_fds=(lock_descriptor,),
        # Safe here: the guard has one thread.
        preexec_fn=_die_with_the_guard(os.getpid()) if sys.platform == "linux" else None,  # noqa: PLW1509
    )


def _die_with_the_guard(guard_pid: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def before_exec() -> None:
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != guard_pid:  # the guard died before the request was in place
            os.kill(os.getpid(), signal.SIGKILL)

    return before_exec


def _wait_for_a_reason_to_stop(child: subprocess.Popen[bytes], asked: int) -> None:
    owner = os.getppid()
    while child.poll() is None and os.getppid() == owner:
        readable, _, _ = select.select([STANDARD_INPUT, asked], [], [], PARENT_CHECK_S)
        if STANDARD_INPUT in readable:  # nothing is ever written to it: readable means it ended
            return
        if asked in readable and set(os.read(asked, 64)) - {signal.SIGCHLD}:
            return


def _stop(child: subprocess.Popen[bytes], grace_s: float) -> int:
    """The server's exit code as a shell gives it."""
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

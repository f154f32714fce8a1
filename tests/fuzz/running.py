"""Runs seeds one after the other; the one that fails says how it is made again, on one line."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

STALLED_CPU_S = 120
"""No seed needs a hundredth of it. Of this process's own time, so that a busy machine is no stall."""


def quieten() -> None:
    """As in a worker: polars tells each malformed block with its backtrace otherwise."""
    os.environ["RUST_BACKTRACE"] = "0"


def each(name: str, check: Callable[[int], int], seeds: Iterable[int]) -> int:
    """How many inputs were tried; raises AssertionError with the line that repeats the first failure."""
    quieten()
    tried = 0
    for seed in seeds:
        try:
            with _bounded():
                tried += check(seed)
        except BaseException as error:
            raise AssertionError(f"python -m tests.fuzz {name} {seed}: {error!r:.3000}") from error
    return tried


@contextmanager
def _bounded() -> Iterator[None]:
    before = signal.signal(signal.SIGVTALRM, _stalled)
    signal.setitimer(signal.ITIMER_VIRTUAL, STALLED_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _stalled(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"stalled: {STALLED_CPU_S} s of processor time")

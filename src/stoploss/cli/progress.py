"""How far something is that may take longer than two seconds: a bar on a terminal, else a line now and then.

On stderr, for stdout is the answer. Nothing is shown of what is done sooner.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from stoploss.cli import output

FIRST_S, EVERY_S = 2.0, 10.0
Advance = Callable[[], None]


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Call what it gives once for each of `total` parts that is done."""
    if not sys.stderr.isatty():
        yield Lines(title, total, sys.stderr, time.monotonic).advance
        return
    from rich.progress import Progress

    with Progress(console=output.console(sys.stderr), transient=True) as bars:
        task = bars.add_task(title, total=total)
        yield lambda: bars.advance(task)


@contextmanager
def working(title: str) -> Iterator[None]:
    """For what does not know how far it is: that it is still at it. Print nothing meanwhile."""
    if sys.stderr.isatty():
        with output.console(sys.stderr).status(title):
            yield
        return
    ended = threading.Event()
    telling = threading.Thread(target=_tell, args=(title, sys.stderr, ended), name="progress", daemon=True)
    telling.start()
    try:
        yield
    finally:
        ended.set()
        telling.join()


def _tell(title: str, stream: TextIO, ended: threading.Event) -> None:
    began_s, pause_s = time.monotonic(), FIRST_S
    while not ended.wait(pause_s):
        print(f"{title}: {time.monotonic() - began_s:.0f} s", file=stream, flush=True)
        pause_s = EVERY_S


@dataclass(slots=True)
class Lines:
    """A line after FIRST_S and then every EVERY_S, for logs; the last part writes none.

    clock  seconds, from any beginning
    """

    title: str
    total: int
    stream: TextIO
    clock: Callable[[], float]
    done: int = 0
    began_s: float = 0.0
    due_s: float = 0.0

    def __post_init__(self) -> None:
        self.began_s = self.clock()
        self.due_s = self.began_s + FIRST_S

    def advance(self) -> None:
        self.done += 1
        now_s = self.clock()
        if now_s < self.due_s or self.done >= self.total:
            return
        self.due_s = now_s + EVERY_S
        passed = f"{now_s - self.began_s:.0f} s"
        print(f"{self.title}: {self.done:,} of {self.total:,}, {passed}", file=self.stream, flush=True)

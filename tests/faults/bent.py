"""A real process with one thing wrong.

`python -m tests.faults.bent BEND worker judge` is `stoploss worker judge`, bent; all else is as it is in production.
A bend is `name` or `name=value`; several are joined by commas.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from stoploss.cli import main


def dies_after_insert(times: str) -> None:
    """SIGKILL right after the n-th insert was answered, before anything of it is committed."""
    from stoploss.store import inserts

    left, insert = [int(times)], inserts.insert

    def inserted(*args: Any) -> int:
        rows = insert(*args)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    inserts.insert = inserted  # type: ignore[assignment]


def dies_after_command(_: str) -> None:
    """SIGKILL right after a transaction with a command was committed, before snapshot and offset."""
    from streams.transactions import Transactor

    publish = Transactor.publish

    def published(self: Transactor, records: Any) -> None:
        publish(self, records)
        if any(record.topic.endswith("control") for record in records):
            os.kill(os.getpid(), signal.SIGKILL)

    Transactor.publish = published  # type: ignore[method-assign]


def raises_while(path: str) -> None:
    """Intake's work raises while the file is there; a file that says `once` is taken away by the first."""
    from stoploss.intake import pipeline

    read = pipeline.read_traces

    @functools.wraps(read)
    def reading(*args: Any, **more: Any) -> Any:
        told = Path(path)
        if told.exists():
            if told.read_text() == "once":
                told.unlink()
            raise ZeroDivisionError("an agent that raises")
        return read(*args, **more)

    pipeline.read_traces = reading


def polls_within(seconds: str) -> None:
    """max.poll.interval.ms, so that a standby is idle for longer in seconds instead of minutes."""
    _configured(broker_max_poll_interval=float(seconds))


def group_of_its_own(name: str) -> None:
    """Another consumer group for the same role of the same installation: a misconfigured second deployment."""
    from streams import app

    made = app.App.__init__

    def renamed(self: app.App, id: str, **settings: Any) -> None:
        made(self, f"{id}-{name}", **settings)

    app.App.__init__ = renamed  # type: ignore[method-assign, assignment]


def _configured(**changed: Any) -> None:
    from streams import app

    made = app.App.__init__

    def configured(self: app.App, id: str, **settings: Any) -> None:
        made(self, id, **{**settings, **changed})

    app.App.__init__ = configured  # type: ignore[method-assign, assignment]


def clock_off_by(seconds: str) -> None:
    """The wall clock as this process reads it; the monotonic one is right, as it is on a machine whose clock is set.

    librdkafka asks the machine and not Python what time it is, so each record is given its stamp here.
    """
    from streams import appender, canary, transactions

    shift_s, now, now_ns = float(seconds), time.time, time.time_ns
    time.time = lambda: now() + shift_s
    time.time_ns = lambda: now_ns() + round(shift_s * 1e9)

    class Stamping(Producer):
        def produce(self, *args: Any, **more: Any) -> None:
            more["timestamp"] = more.get("timestamp") or time.time_ns() // 1_000_000
            super().produce(*args, **more)

    for module in (appender, canary, transactions):
        module.Producer = Stamping  # type: ignore[attr-defined]


def looks_up_again_after(seconds: str) -> None:
    """A bare outcome whose trace is not stored yet is looked up again after so long, then after 4 and 16 times that."""
    from streams import resolver, worker

    wait_s = itertools.chain([0.0], (float(seconds) * 4**number for number in itertools.count()))
    stages = [dataclasses.replace(stage, wait_s=next(wait_s)) for stage in resolver.STAGES]
    worker.ROLES["resolver"] = lambda settings: resolver.Resolver(settings, stages).app


def snapshots_every(seconds: str) -> None:
    from streams import partition_judge

    partition_judge.SNAPSHOT_EVERY_S = float(seconds)


def files_up_to(size: str) -> None:
    """No file of this process may grow beyond so many bytes, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))


def version(name: str) -> None:
    """Judges as another version of stoploss: the same rules under another name."""
    from streams import partition_judge

    partition_judge.__version__ = name  # type: ignore[attr-defined]


BENDS: dict[str, Callable[[str], None]] = {
    bend.__name__: bend
    for bend in (
        dies_after_insert,
        dies_after_command,
        raises_while,
        polls_within,
        group_of_its_own,
        clock_off_by,
        looks_up_again_after,
        snapshots_every,
        files_up_to,
        version,
    )
}


if __name__ == "__main__":
    for told in sys.argv.pop(1).split(","):
        chosen, _, value = told.partition("=")
        BENDS[chosen](value)
    main()

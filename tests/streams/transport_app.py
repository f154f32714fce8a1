"""A Faust worker for the transport's tests: `python transport_app.py '{"topic": ..., ...}'`.

It writes what it does to its own log file, one fsynced line per effect, before it completes the batch. The
tests read these files and the committed offsets: a verifier that shares nothing with the transport.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.types import TP

from streams.agents import each_batch
from streams.batches import Batch
from streams.member import Limits
from streams.transport import consumer_of, make_transport

TICK_S = 0.25


class NotAnException(BaseException):
    """Like the PanicException of a Rust extension: `except Exception` does not see it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one worker is told to do.

    raise_at, hang_at, block_at  at the batch that holds this offset: raise, await for ever, block the loop
    wait_for                     a file that must exist before a batch is effected and before a restore ends
    restore                      partition -> the offset its restore answers, once the file is there
    broken_recovery              Faust's recovery never resumes the flow
    """

    bootstrap: str
    group: str
    topic: str
    log: str
    raise_at: int | None = None
    hang_at: int | None = None
    block_at: int | None = None
    wait_for: str | None = None
    restore: dict[str, int] = field(default_factory=dict)
    broken_recovery: bool = False
    max_poll_interval_s: float = 300.0
    session_timeout_s: float = 6.0
    reads: str | None = None
    limits: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Log:
    """The worker's effects: a line is on the disk when `write` returns."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())
        os.fsync(self._file)


class Boot(BootStrategy):
    enable_kafka_producer = False
    enable_web = False


class App(faust.App):
    BootStrategy = Boot


def build_app(job: Job, log: Log) -> faust.App:
    app = App(
        job.group,
        broker=f"kafka://{job.bootstrap}",
        datadir=str(Path(job.log).parent),
        autodiscover=False,
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        cache="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=job.session_timeout_s,
        broker_heartbeat_interval=0.5,
        broker_rebalance_timeout=job.session_timeout_s + 4.0,
        broker_request_timeout=job.session_timeout_s,
        broker_commit_interval=0.2,
        broker_max_poll_interval=job.max_poll_interval_s,
    )
    transport = make_transport(job.bootstrap, [job.topic], restore=restoring(job, log), limits=Limits(**job.limits))
    if job.broken_recovery:
        transport.Consumer = type("Broken", (transport.Consumer,), {"perform_seek": asyncio.Event().wait})
    app.transport = transport(app.conf.broker_consumer, app)
    app.agent(app.topic(job.reads or job.topic), name="effects")(each_batch(app, effecting(app, job, log)))
    app.timer(TICK_S, name="ticks")(ticking(app, log))
    return app


def effecting(app: faust.App, job: Job, log: Log) -> Any:
    async def handle(batch: Batch) -> None:
        consumer = consumer_of(app)
        offsets = [record.offset for record in batch.records]
        log.write("deliver", batch.tp.partition, *offsets)
        if job.raise_at in offsets:
            raise NotAnException("a panic")
        if job.hang_at in offsets:
            await asyncio.Event().wait()
        if job.block_at in offsets:
            time.sleep(3600)
        await exists(job.wait_for)
        if not consumer.owns(batch):
            log.write("stale", batch.tp.partition, *offsets)
            consumer.begin(batch)
        for record in batch.records:
            log.write("effect", batch.tp.partition, record.offset, record.value.decode())
        consumer.complete(batch)

    return handle


def restoring(job: Job, log: Log) -> Any:
    async def restore(tp: TP) -> int | None:
        if str(tp.partition) not in job.restore:
            return None
        log.write("restore", tp.partition)
        await exists(job.wait_for)
        return job.restore[str(tp.partition)]

    return restore if job.restore else None


def ticking(app: faust.App, log: Log) -> Any:
    async def tick() -> None:
        log.write("tick", *sorted(tp.partition for tp in consumer_of(app).owned()))
        for tp, (next_offset, end) in consumer_of(app).progress().items():
            log.write("progress", tp.partition, next_offset, end)

    return tick


async def exists(path: str | None) -> None:
    while path is not None and not Path(path).exists():
        await asyncio.sleep(0.02)


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    app = build_app(job, Log(job.log))
    worker = faust.Worker(app, loglevel="WARN", redirect_stdouts=False)
    worker.spinner = None
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()

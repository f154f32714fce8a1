"""Where the simulation is put in: the names under which streams/ and control/ know their clients, clocks and threads.

Each stand-in takes the place of one object, in every module of the project that has it by name. The code itself runs as
it is. What is made cheaper stands in cheap.py.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from typing import Any

import confluent_kafka
import confluent_kafka.admin

import stoploss.intake.batch
import stoploss.intake.clean
import stoploss.intake.watched
import streams
from stoploss import journal, ledger, registry
from stoploss.control import controller, kafka_loop, messages, position, trouble
from stoploss.control.files import replace_file
from stoploss.intake.pii import scan
from stoploss.intake.rows import build_blocks
from stoploss.store.client import connect
from stoploss.store.trace_contexts import contexts_of
from stoploss.wire import records
from streams.app import build_app
from tests.simulation import now, processes, store
from tests.simulation.batons import Threading
from tests.simulation.cheap import REMEMBERED, SCANNED, SMALL, scan_once
from tests.simulation.clients import SimAdmin, SimReader
from tests.simulation.producer import SimProducer
from tests.simulation.store import SimClient

MOST_ROWS = 2
"""Of a block: so that what is published at once is several records."""
INTAKE = (stoploss.intake.batch, stoploss.intake.clean, stoploss.intake.watched)
OTHERS = (controller, kafka_loop, messages, position, trouble, *INTAKE, ledger, journal, registry)
NOT_SIMULATED = ("streams.transport", "streams.member", "streams.watchdog", "streams.worker", "streams.app")


class Clock:
    """The names of `time` that streams/ and control/ use; everybody's clock is the world's."""

    @staticmethod
    def monotonic() -> float:
        return now.world().now_us / 1e6

    @staticmethod
    def time() -> float:
        return now.world().now_us / 1e6

    @staticmethod
    def time_ns() -> int:
        return now.world().now_us * 1_000

    @staticmethod
    def sleep(seconds: float) -> None:
        now.world().now_us += round(seconds * 1e6)


class Executor:
    """Names a thread: the loop keeps what the thread has to do (loop.py)."""

    def __init__(self, max_workers: int | None = None, thread_name_prefix: str = "") -> None:
        self.name = thread_name_prefix


def _replace(path: Any, content: bytes, *, mode: int) -> None:
    path.write(content)


class Records:
    """`wire.records` for those who read it by that name: the same bytes are read by everybody in turn."""

    encode = staticmethod(records.encode)

    @staticmethod
    def decode(value: bytes | None, known: dict[str, type[Any]], *, own: bool = False) -> Any:
        return _decoded(value, tuple(known.items()), own)


@lru_cache(maxsize=4_096)
def _decoded(value: bytes | None, known: tuple[tuple[str, type[Any]], ...], own: bool) -> Any:
    return records.decode(value, dict(known), own=own)


@cache
def modules() -> list[Any]:
    """Those whose names are looked through: the roles, and what a controller is made of."""
    names = [f"streams.{found.name}" for found in pkgutil.iter_modules(streams.__path__)]
    wanted = [name for name in names if name not in NOT_SIMULATED and not name.endswith("recorder")]
    return [importlib.import_module(name) for name in wanted] + [*OTHERS]


@cache
def stand_ins() -> list[tuple[Any, Any]]:
    return [
        (confluent_kafka.Producer, SimProducer),
        (confluent_kafka.Consumer, SimReader),
        (confluent_kafka.admin.AdminClient, SimAdmin),
        (time, Clock),
        (time.monotonic, Clock.monotonic),
        (threading, Threading),
        (build_app, processes.build_app),
        (replace_file, _replace),
        (records, Records),
        (ThreadPoolExecutor, Executor),
        (connect, SimClient),
        (contexts_of, store.contexts_of),
        (build_blocks, partial(build_blocks, max_rows=MOST_ROWS)),
        (scan, scan_once),
        *REMEMBERED,
    ]


@contextmanager
def simulated() -> Iterator[None]:
    """Within, whatever streams/ and control/ make is the simulation's."""
    kept: list[tuple[Any, str, Any]] = []
    SCANNED.clear()
    gc.collect()
    gc.freeze()  # what is there stays: collecting looks at the runs alone
    gc.disable()  # a run is over before anything of it is garbage; world.run collects what some of them left
    try:
        for module in modules():
            for name, value in list(vars(module).items()):
                stand_in = next((new for old, new in stand_ins() if value is old), None)
                if name == "log":
                    stand_in = now.Silent()
                if stand_in is not None:
                    kept.append((module, name, value))
                    setattr(module, name, stand_in)
        for module, name, small in SMALL:
            kept.append((module, name, getattr(module, name)))
            setattr(module, name, small)
        yield
    finally:
        gc.enable()
        gc.unfreeze()
        for module, name, value in kept:
            setattr(module, name, value)

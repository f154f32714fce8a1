"""Server-sent events: a page is told when what it shows has changed, and asks for itself again."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from stoploss import registry
from stoploss.console.reads import Reads
from stoploss.errors import ConfigurationError
from stoploss.store.query import Query

LOOK_EVERY_S = 1.0
SAY_SOMETHING_S = 15.0
MOST_LISTENERS = 100
MOST_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Newest:
    """The last journal entry and the last measure of an experiment."""

    number: int
    measured_at_us: int


NEWEST = Query(
    Newest,
    """
SELECT
    (SELECT max(number) FROM journal WHERE experiment = {experiment:String}) AS number,
    (SELECT toUnixTimestamp64Micro(max(at)) FROM measures_arms WHERE experiment = {experiment:String}) AS measured_at_us
""",
)


class Stamps:
    """What tells one state of a page from another."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._lock = asyncio.Lock()
        self._known: dict[str, tuple[float, str]] = {}

    async def of(self, experiment: str) -> str:
        """The same as `now`, asked once in LOOK_EVERY_S however many listen."""
        async with self._lock:
            asked_s, stamp = self._known.get(experiment, (-LOOK_EVERY_S, ""))
            if time.monotonic() - asked_s < LOOK_EVERY_S:
                return stamp
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            stamp = await run_in_threadpool(self.now, experiment)
            self._known[experiment] = (time.monotonic(), stamp)
            return stamp

    def now(self, experiment: str) -> str:
        """Of one experiment, or of the registry alone where it is empty."""
        return hashlib.sha256(self._content(experiment)).hexdigest()[:16]

    def _content(self, experiment: str) -> bytes:
        return self._of_line() + self._of_registry(experiment) + (self._of_store(experiment) if experiment else b"")

    def _of_line(self) -> bytes:
        try:
            return repr(self._reads.frozen()).encode()
        except ConfigurationError:
            return b"Kafka is away"

    def _of_registry(self, experiment: str) -> bytes:
        try:
            entries = self._reads.entries()
        except ConfigurationError:
            return b"Kafka is away"
        return b"".join(registry.encode(entry) for entry in entries if experiment in ("", entry.experiment))

    def _of_store(self, experiment: str) -> bytes:
        try:
            with self._reads.stored() as client:
                return repr(NEWEST.run(client, experiment=experiment)).encode()
        except ConfigurationError:
            return b"ClickHouse is away"


class Listeners:
    """Streams of changes, a bounded number of them; `closing` ends all."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._listening = 0
        self.closing = threading.Event()

    @property
    def is_full(self) -> bool:
        return self._listening >= MOST_LISTENERS

    async def changes(self, request: Request, experiment: str, seen: str) -> AsyncIterator[str]:
        """An event for each change since the page that the stamp `seen` was given to."""
        self._listening += 1
        try:
            silent_s = 0.0
            yield "retry: 3000\n\n"
            while not self.closing.is_set() and not await request.is_disconnected():
                stamp = await self._stamps.of(experiment)
                silent_s += LOOK_EVERY_S
                if stamp != seen:
                    seen, silent_s = stamp, 0.0
                    yield f"event: change\ndata: {stamp}\n\n"
                elif silent_s >= SAY_SOMETHING_S:
                    silent_s = 0.0
                    yield ": nothing new\n\n"
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._listening -= 1

"""Recorder: everything into ClickHouse, ledger entries verbatim. Nothing waits for it, and it waits for ClickHouse."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from stoploss.errors import ConfigurationError
from stoploss.settings import Settings
from stoploss.store import inserts, schema
from stoploss.store.client import connect
from stoploss.store.stored import Stored
from streams.app import App, build_app
from streams.batches import Batch, Record
from streams.gathering import Gathering
from streams.member import Limits
from streams.transport import consumer_if_any, consumer_of

log = structlog.get_logger("stoploss.recorder")

STREAMS = ("traces_clean", "ledger", "journal", "checkpoints", "measures", "control", "acks", "registry", "deadletter")
INSERT_EVERY_S = 0.5
RETRY_FIRST_S, RETRY_LONGEST_S = 0.5, 15.0
ANSWER_TIMEOUT_S = 40
"""Of ClickHouse. Each attempt ends within what the watchdog gives a worker that does not get on."""
LIMITS = Limits(fetch_rest_s=0.1)


class Recorder:
    """Inserts what has gathered since the insert before, one block per table: the slower ClickHouse, the larger.

    An insert that failed is repeated as it was, for rows have ids.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client: Client | None = None
        self._thread = ThreadPoolExecutor(1, "recorder")
        self._gathering = Gathering[tuple[str, Batch]](lambda: self.app, "recording", self._record)
        self._inserted_s = 0.0
        handlers = {name: functools.partial(self.handle, name) for name in STREAMS}
        self.app: App = build_app(settings, "recorder", handlers, limits=LIMITS)

    async def handle(self, stream: str, batch: Batch) -> None:
        self._gathering.put((stream, batch))

    async def _record(self, gathered: Sequence[tuple[str, Batch]]) -> None:
        """What has gathered and what comes until the next insert is due: each costs ClickHouse a part per table."""
        rest_s = self._inserted_s + INSERT_EVERY_S - time.monotonic()
        if rest_s > 0:
            await asyncio.sleep(rest_s)
            gathered = [*gathered, *self._gathering.take()]
        await self._insert_for_good(gathered)
        self._inserted_s = time.monotonic()

    async def _insert_for_good(self, gathered: Sequence[tuple[str, Batch]]) -> None:
        wait_s = RETRY_FIRST_S
        while not await asyncio.get_running_loop().run_in_executor(self._thread, self._insert, gathered):
            self._lives(gathered)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_LONGEST_S)
        for _, batch in gathered:
            consumer_of(self.app).complete(batch)

    def _insert(self, gathered: Sequence[tuple[str, Batch]]) -> bool:
        """False: ClickHouse would not have it now."""
        stored: dict[str, list[Stored]] = {}
        for stream, batch in gathered:
            stored.setdefault(stream, []).extend(self._stored(batch, record) for record in batch.records)
        try:
            batches = [batch for stream, records in stored.items() for batch in inserts.encode(stream, records)]
            client = self._connected()
            for block in batches:
                self._lives(gathered)
                inserts.insert(client, [block])
        except (ClickHouseError, ConfigurationError, OSError) as error:
            self._client = None
            log.warning("insert failed, will be repeated", streams=sorted(stored), reason=str(error)[:500])
            return False
        return True

    def _lives(self, gathered: Sequence[tuple[str, Batch]]) -> None:
        """ClickHouse may be slow or away for long: that is no fault of this worker."""
        if (consumer := consumer_if_any(self.app)) is not None:
            consumer.lives({batch.tp for _, batch in gathered})

    def _connected(self) -> Client:
        if self._client is None:
            client = connect(
                self.settings.need_clickhouse(),
                database=self.settings.clickhouse_database,
                answer_timeout_s=ANSWER_TIMEOUT_S,
            )
            if self.settings.clickhouse_migrate:
                schema.migrate(client)
            self._client = client
        return self._client

    def _stored(self, batch: Batch, record: Record) -> Stored:
        return Stored(
            topic=batch.tp.topic,
            topic_uuid=batch.log,
            partition=batch.tp.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            key=record.key,
            value=record.value,
            headers=tuple(record.headers),
        )


def build(settings: Settings) -> App:
    return Recorder(settings).app

"""From settings to a Faust app: one per role, with the batch transport."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping

import faust
from faust.app.base import BootStrategy
from faust.tables import TableManager
from faust.types.auth import CredentialsT

from stoploss.kafka import KafkaAddress
from stoploss.settings import Settings
from streams.agents import each_batch
from streams.batches import Batch
from streams.measuring import Sight
from streams.member import Limits
from streams.transport import Restore, make_transport


class Boot(BootStrategy):
    """Faust's own producer and web server are not started: outputs have producers of their own."""

    enable_kafka_producer = False
    enable_web = False


class NoTables(TableManager):
    """Faust subscribes once its tables are registered, and gives them a second for it. There are none to wait for."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


def credentials_of(address: KafkaAddress) -> CredentialsT | None:
    """How Faust's own client gets in; None: without ado."""
    security = address.security
    if security.protocol == "PLAINTEXT":
        return None
    trusted = ssl.create_default_context(cafile=str(security.ca_file) if security.ca_file else None)
    if security.protocol == "SSL":
        return faust.SSLCredentials(context=trusted)
    return faust.SASLCredentials(
        username=security.user, password=security.password, ssl_context=trusted, mechanism=security.mechanism
    )


class App(faust.App):
    """
    at_the_end  what is still to be done when the worker ends in order, while its partitions are its own
    sights      of a judge: how far it sees in each of its partitions, whenever somebody looks
    """

    BootStrategy = Boot
    at_the_end: Callable[[], Awaitable[None]] | None = None
    sights: Callable[[], Mapping[int, Sight]] | None = None

    async def on_stop(self) -> None:
        if self.at_the_end is not None:
            await self.at_the_end()
        await super().on_stop()


def group_of(settings: Settings, role: str) -> str:
    """The consumer group in which the workers of a role share its partitions."""
    return f"stoploss-{settings.installation}-{role}"


def build_app(
    settings: Settings,
    role: str,
    handlers: Mapping[str, Callable[[Batch], Awaitable[None]]],
    *,
    restore: Restore | None = None,
    limits: Limits | None = None,
    alone: bool = False,
) -> App:
    """The app of a role: one agent for each topic.

    handlers  topic name without prefix -> what is done with each batch; it completes the batch itself
    alone     one worker of the role reads everything, while others stand by
    """
    datadir = settings.home / "faust" / role
    datadir.parent.mkdir(parents=True, exist_ok=True)
    app = App(
        group_of(settings, role),
        broker=f"kafka://{settings.need_kafka()}",
        broker_credentials=credentials_of(settings.need_kafka()),
        datadir=str(datadir),
        origin="streams",
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
        broker_session_timeout=10.0,
        broker_heartbeat_interval=1.0,
        broker_rebalance_timeout=20.0,
        broker_request_timeout=15.0,
        broker_commit_interval=0.5,
        # A topic that was made again is found after this; the default is five minutes, in which nobody reads it.
        consumer_metadata_max_age_ms=5_000,
        loghandlers=[],
        TableManager=NoTables,
    )
    topics = {name: settings.topics(name) for name in handlers}
    transport = make_transport(settings.need_kafka(), topics.values(), restore=restore, limits=limits, alone=alone)
    app.transport = transport(app.conf.broker_consumer, app)
    for name, handle in handlers.items():
        app.agent(app.topic(topics[name]), name=f"streams.{role}.{name}")(each_batch(app, handle))
    return app

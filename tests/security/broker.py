"""The broker of deploy/secure, as its container starts it: SCRAM over TLS, ACLs, users from `stoploss credentials`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from stoploss.control.credentials import ADMIN, CA_FILE, PASSWORD_SUFFIX, create_credentials
from stoploss.embedded.jars import kafka_class_path
from stoploss.embedded.kafka import LOG4J, EmbeddedKafka, java_path, new_cluster_id, read_cluster_id
from stoploss.embedded.ports import LOOPBACK, free_port
from stoploss.kafka import KafkaAddress, Security, connection
from stoploss.settings import load

WAIT_S = 60.0
SECURE = Path(__file__).parents[2] / "deploy" / "secure"
TOOLS = {
    "kafka-storage.sh": "kafka.tools.StorageTool",
    "kafka-server-start.sh": "kafka.Kafka",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
}
"""What the container calls -> the class of Kafka's jars that Kafka's own script of that name runs."""


class SecureKafka(EmbeddedKafka):
    """As the embedded one, but nobody gets in without a password over TLS, nor does what no ACL allows."""

    # Two programs of Java, one after the other: twice what the embedded one may take.
    ready_timeout_s = 180.0

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.credentials = directory / "credentials"
        create_credentials(self.credentials, load(), [LOOPBACK])
        self.ca_file = self.credentials / CA_FILE

    @property
    def bootstrap(self) -> KafkaAddress:
        """As the administrator reaches it."""
        return self.address(ADMIN, self.password(ADMIN))

    @property
    def admin_settings(self) -> dict[str, object]:
        return self.settings(ADMIN, self.password(ADMIN))

    def password(self, user: str) -> str:
        """Of one of the users that `stoploss credentials` made."""
        return (self.credentials / f"{user}{PASSWORD_SUFFIX}").read_text()

    def address(self, user: str, password: str) -> KafkaAddress:
        return KafkaAddress(f"{LOOPBACK}:{self.port}", Security("SASL_SSL", self.ca_file, user, password))

    def settings(self, user: str, password: str) -> dict[str, object]:
        """What a process of this user is given, beside the address."""
        security = {"kafka_protocol": "SASL_SSL", "kafka_ca_file": self.ca_file}
        return {**security, "kafka_user": user, "kafka_password": password}

    def add_user(self, user: str, password: str) -> None:
        admin = AdminClient(connection(self.bootstrap))
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
        wanted = UserScramCredentialUpsertion(user, info, password.encode())
        for future in admin.alter_user_scram_credentials([wanted]).values():
            future.result(WAIT_S)

    @property
    def configuration(self) -> Path:
        """Where start.sh writes: in a container, a file system in memory."""
        return self.directory / "configuration"

    @property
    def tools(self) -> Path:
        """In a container, /opt/kafka/bin."""
        return self.directory / "bin"

    def _prepare(self, lock_descriptor: int) -> list[str]:
        for folder in (self.tools, self.configuration):
            folder.mkdir(exist_ok=True)
        logging = self.directory / "log4j2.properties"
        logging.write_text(LOG4J, encoding="ascii")
        java = [
            str(java_path()),
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={logging}",
        ]
        for name, java_class in TOOLS.items():
            run = shlex.join([*java, "-cp", kafka_class_path(), java_class])
            (self.tools / name).write_text(f'#!/bin/sh\nexec {run} "$@"\n')
            (self.tools / name).chmod(0o755)
        return ["sh", str(SECURE / "start.sh")]

    def _environment(self) -> Mapping[str, str]:
        internal, controller = free_port(), free_port()
        public = f"INTERNAL://{LOOPBACK}:{internal},HOST://{LOOPBACK}:{self.port}"
        formatted = (self._data / "meta.properties").exists()
        return {
            **super()._environment(),
            "PATH": f"{self.tools}:/usr/bin:/bin",
            "CREDENTIALS": str(self.credentials),
            "CONFIGURATION": str(self.configuration),
            "CLUSTER_ID": read_cluster_id(self._data) if formatted else new_cluster_id(),
            "KAFKA_LISTENERS": f"{public},CONTROLLER://{LOOPBACK}:{controller}",
            "KAFKA_ADVERTISED_LISTENERS": public,
            "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@{LOOPBACK}:{controller}",
            "KAFKA_LOG_DIRS": str(self._data),
        }

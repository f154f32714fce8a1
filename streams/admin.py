"""What the broker knows of topics: making them, checking them, and the UUID that tells a topic from its successor."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from stoploss.acls import Acl
from stoploss.errors import ConfigurationError
from stoploss.kafka import connection
from stoploss.settings import Settings
from stoploss.topics import TOPICS, Topic

TIMEOUT_S = 15.0


class Admin:
    """Keeps its client: on a temporary one calls fail while it is being collected."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._client = AdminClient({**connection(bootstrap), "log_level": 0})

    def existing(self) -> dict[str, int]:
        """Partition count by topic; raises ConfigurationError where no broker answers."""
        try:
            found = self._client.list_topics(timeout=TIMEOUT_S).topics
        except KafkaException as error:
            raise ConfigurationError(
                f"no Kafka broker answers at {self.bootstrap} ({error.args[0].str()}); start it, or set STOPLOSS_KAFKA"
            ) from error
        return {name: len(topic.partitions) for name, topic in found.items()}

    def uuids(self, topics: Iterable[str]) -> dict[str, str]:
        """Kafka's own UUID of each topic; raises ConfigurationError where one is missing."""
        futures = self._client.describe_topics(TopicCollection(list(topics)))
        return {name: _uuid(name, future) for name, future in futures.items()}

    def uuid(self, topic: str) -> str:
        """Of one topic. Raises as uuids."""
        return self.uuids([topic])[topic]

    def create(self, settings: Settings) -> list[str]:
        """Creates the topics that are missing and gives their names once the broker shows them all.

        Refuses one with another partition count.
        """
        existing = self.existing()
        missing = []
        for topic in TOPICS.values():
            name, partitions = settings.topics(topic.name), partitions_of(topic, settings)
            if name not in existing:
                missing.append(NewTopic(name, partitions, settings.replication, config=dict(topic.config())))
            elif topic.fixed and existing[name] != partitions:
                raise ConfigurationError(
                    f"topic {name} has {existing[name]} partitions, settings say {partitions}; the count is fixed once "
                    f"experiments are registered: set STOPLOSS_LEDGER_PARTITIONS={existing[name]}"
                )
        for name, future in self._client.create_topics(missing).items() if missing else ():
            _await_creation(name, future)
        created = [topic.topic for topic in missing]
        self._await_metadata(created)
        return created

    def _await_metadata(self, created: list[str]) -> None:
        """A topic that was made is not known at once to everybody who asks for it."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while unseen := set(created) - set(self.existing()):
            if time.monotonic() > deadline_s:
                raise ConfigurationError(f"created, but not shown by the broker: {', '.join(sorted(unseen))}")
            time.sleep(0.05)

    def allow(self, acls: Sequence[Acl]) -> None:
        """Creates ACLs; those that are there already stay. Raises ConfigurationError where the broker refuses."""
        for acl, future in self._client.create_acls([_binding(acl) for acl in acls]).items():
            try:
                future.result(TIMEOUT_S)
            except KafkaException as error:
                why = error.args[0].str()[:200]
                raise ConfigurationError(
                    f"the ACL of {acl.principal} is refused: {why}; ask an administrator of the brokers"
                ) from error

    def configs(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        (future,) = self._client.describe_configs([resource]).values()
        return {name: entry.value for name, entry in future.result(TIMEOUT_S).items()}

    def keep_for(self, topic: str, retention_ms: int) -> None:
        """Says how long a topic keeps its records; raises ConfigurationError where the broker refuses."""
        entry = ConfigEntry("retention.ms", str(retention_ms), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        (future,) = self._client.incremental_alter_configs([resource]).values()
        try:
            future.result(TIMEOUT_S)
        except KafkaException as error:
            why = error.args[0].str()[:200]
            raise ConfigurationError(
                f"the retention of {topic} is refused: {why}; ask an administrator of the brokers"
            ) from error


def _binding(acl: Acl) -> AclBinding:
    return AclBinding(
        ResourceType[acl.resource.replace("-", "_").upper()],
        acl.name,
        ResourcePatternType[acl.pattern.upper()],
        acl.principal,
        "*",
        AclOperation[_constant(acl.operation)],
        AclPermissionType.ALLOW,
    )


def _constant(operation: str) -> str:
    """As the client has it: AlterConfigs is ALTER_CONFIGS there."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()


def _uuid(name: str, future: object) -> str:
    try:
        return str(future.result(TIMEOUT_S).topic_id)  # type: ignore[attr-defined]
    except KafkaException as error:
        raise ConfigurationError(
            f"topic {name} cannot be described: {error.args[0].str()}; create it: stoploss topics"
        ) from error


def _await_creation(name: str, future: object) -> None:
    try:
        future.result(TIMEOUT_S)  # type: ignore[attr-defined]
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise ConfigurationError(f"topic {name} cannot be created: {error.args[0].str()}") from error


def partitions_of(topic: Topic, settings: Settings) -> int:
    if topic.fixed:
        return settings.ledger_partitions
    return topic.partitions or settings.source_partitions

"""Topics on the real broker: made once, checked, and told from their successors."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from stoploss.errors import ConfigurationError
from stoploss.settings import Settings
from stoploss.topics import TOPICS
from streams import admin as module
from streams.admin import Admin, partitions_of
from tests.installation import PATIENCE_S, Kafka, create_topics, settings_of

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    return settings_of(kafka, tmp_path, ledger_partitions=3)


@pytest.fixture
def admin(settings: Settings) -> Admin:
    return Admin(settings.need_kafka())


def test_every_topic_of_the_table_is_made_once_as_the_table_has_it(settings: Settings, admin: Admin) -> None:
    assert sorted(admin.create(settings)) == sorted(settings.topics(name) for name in TOPICS)
    assert admin.create(settings) == []
    existing = admin.existing()
    for topic in TOPICS.values():
        name = settings.topics(topic.name)
        assert existing[name] == partitions_of(topic, settings)
        assert topic.config().items() <= admin.configs(name).items()


def test_only_what_is_missing_is_made(settings: Settings, admin: Admin) -> None:
    create_topics(settings, "ledger", "traces")
    assert len(admin.create(settings)) == len(TOPICS) - 2


def test_another_partition_count_of_a_fixed_topic_is_refused_with_the_setting_that_is_right(
    settings: Settings, admin: Admin
) -> None:
    create_topics(settings, "journal")
    other = settings.model_copy(update={"ledger_partitions": 5})
    with pytest.raises(ConfigurationError, match=r"journal has 3 partitions.* set STOPLOSS_LEDGER_PARTITIONS=3"):
        admin.create(other)


def test_source_topics_may_have_more_partitions_than_the_settings_say(settings: Settings, admin: Admin) -> None:
    create_topics(settings.model_copy(update={"source_partitions": 4}), "traces")
    admin.create(settings)
    assert admin.existing()[settings.topics("traces")] == 4


def test_a_topic_that_was_deleted_and_made_again_has_another_uuid(settings: Settings, admin: Admin) -> None:
    name = settings.topics("traces")
    create_topics(settings, "traces")
    before = admin.uuids([name])[name]
    client = AdminClient({"bootstrap.servers": settings.need_kafka()})
    client.delete_topics([name])[name].result()
    deadline_s = time.monotonic() + PATIENCE_S
    while name in admin.existing() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    create_topics(settings, "traces")
    assert admin.uuids([name])[name] != before


def test_a_topic_that_is_missing_has_no_uuid_and_is_named_with_the_way_out(admin: Admin) -> None:
    with pytest.raises(ConfigurationError, match=r"nobody-made-this .* create it: stoploss topics"):
        admin.uuids(["nobody-made-this"])


def test_without_a_broker_the_address_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    with pytest.raises(ConfigurationError, match=r"no Kafka broker answers at 127\.0\.0\.1:1 .* set STOPLOSS_KAFKA"):
        Admin("127.0.0.1:1").existing()


def test_a_topic_that_the_broker_refuses_is_named_with_its_reason(settings: Settings, admin: Admin) -> None:
    three_copies = settings.model_copy(update={"replication": 3})
    with pytest.raises(ConfigurationError, match=r"cannot be created: .*[Rr]eplication"):
        admin.create(three_copies)


def test_partitions_follow_what_a_topic_is_partitioned_by(settings: Settings) -> None:
    counts = {name: partitions_of(topic, settings) for name, topic in TOPICS.items()}
    assert (counts["ledger"], counts["traces"], counts["experiments"]) == (3, 2, 1)
    assert partitions_of(dataclasses.replace(TOPICS["traces"], partitions=7), settings) == 7

"""What tests of the judge share, its topics and its keys, and tests of the courier: an installation for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stoploss.settings import Settings
from streams.partition_judge import Keys
from tests.installation import Kafka, create_installation_keys, create_topics, settings_of
from tests.streams.couriers import World, couriered

TOPICS = ("ledger", "journal", "checkpoints", "registry", "measures", "control", "snapshots", "deadletter")


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    settings = settings_of(kafka, tmp_path)
    create_topics(settings, *TOPICS)
    return settings


@pytest.fixture
def keys(settings: Settings) -> Keys:
    return create_installation_keys(settings)


@pytest.fixture(scope="module")
def world(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with couriered(kafka, tmp_path_factory.mktemp("courier")) as world:
        yield world

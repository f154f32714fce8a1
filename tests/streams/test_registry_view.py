"""The registry as a table: whole from the start, followed from then on, whatever stands on the topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoploss import registry
from stoploss.errors import ConfigurationError
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from streams.registry_view import RegistryView
from tests.installation import PATIENCE_S, Kafka, appending, create_topics, settings_of
from tests.timelines import SPEC

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    settings = settings_of(kafka, tmp_path)
    create_topics(settings, "registry")
    return settings


@pytest.fixture
def view(settings: Settings) -> Iterator[RegistryView]:
    """Not started."""
    view = RegistryView(settings.need_kafka(), settings.topics("registry"))
    yield view
    view.stop()


def entry(experiment: str, lifecycle: str = "running", partition: int = 0) -> RegistryEntry:
    return RegistryEntry(experiment, partition, SPEC, "hash", lifecycle, 1, 1, 1, "current", 0.5, (), None, 0, 0)


def publish(settings: Settings, *entries: RegistryEntry) -> None:
    put(settings, *((one.experiment, registry.encode(one), one.partition) for one in entries))


def put(settings: Settings, *records: tuple[str, bytes | None, int]) -> None:
    appender = appending(settings)
    for experiment, value, partition in records:
        appender.append(settings.topics("registry"), value, key=experiment.encode(), partition=partition)
    appender.flush()


def wait(until: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_what_was_written_before_is_there_when_start_returns_the_newest_of_each(
    settings: Settings, view: RegistryView
) -> None:
    publish(settings, entry("a", "registered"), entry("b", partition=1), entry("a", "stopped"))
    view.start()
    assert {one.experiment: one.lifecycle for one in view.entries()} == {"a": "stopped", "b": "running"}
    assert view.get("c") is None


def test_what_is_written_later_is_followed_and_raises_the_version(settings: Settings, view: RegistryView) -> None:
    before = view.start().version
    publish(settings, entry("a"))
    wait(lambda: view.get("a") == entry("a"))
    assert view.version > before


def test_a_record_that_nobody_can_read_hides_nothing_that_follows_it(settings: Settings, view: RegistryView) -> None:
    put(settings, ("a", b"no entry", 0))
    publish(settings, entry("b"))
    assert [one.experiment for one in view.start().entries()] == ["b"]
    put(settings, ("b", b"no entry either", 0))
    publish(settings, entry("c"))
    wait(lambda: view.get("c") is not None)
    assert view.get("b") == entry("b")


def test_a_tombstone_forgets_the_experiment(settings: Settings, view: RegistryView) -> None:
    publish(settings, entry("a"), entry("b"))
    put(settings, ("a", None, 0))
    assert [one.experiment for one in view.start().entries()] == ["b"]


def test_a_topic_that_is_missing_is_named_with_the_way_out(kafka: Kafka) -> None:
    view = RegistryView(kafka.bootstrap, "nobody-made-this.registry")
    with pytest.raises(ConfigurationError, match=r"nobody-made-this\.registry .* create it: stoploss topics"):
        view.start()

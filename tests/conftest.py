"""The real servers, started once for the whole session; and which files begin first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka

ROOT = Path(__file__).parent
BEGIN_FIRST = ("faults/test_in_each_run.py", "test_readme.py", "demo/test_demo.py")
"""Files of few tests that take a minute or more."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` gives a file at a time to each of its workers: one that takes long must not be the last to begin."""
    first, tests = {ROOT / name for name in BEGIN_FIRST}, Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in first, -tests[item.path]))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as service:
        yield service


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedClickHouse]:
    with EmbeddedClickHouse(tmp_path_factory.mktemp("clickhouse")) as service:
        yield service

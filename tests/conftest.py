"""The real servers, started once for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.wire import schemas

LONGEST = (
    "tests/faults/test_in_each_run.py",
    "tests/test_readme.py",
    "tests/demo/test_demo.py",
    "tests/simulation/",
    "tests/cli/test_up.py",
    "tests/test_compose.py",
)
"""Files and folders that take a minute or more. A process is given a file as a whole: where a long one comes last, the
other process waits for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as service:
        yield service


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedClickHouse]:
    with EmbeddedClickHouse(tmp_path_factory.mktemp("clickhouse")) as service:
        yield service


@pytest.fixture(autouse=True, scope="module")
def _what_a_module_learnt_ends_with_it() -> Iterator[None]:
    """A command that a test runs in this process teaches it a broker to ask, which may be gone for the next module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemas, "OTHERS", {})
        patch.setattr(schemas, "_lookups", [])
        yield

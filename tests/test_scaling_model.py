"""bench/scaling_model.py: what scale would cost, and that docs/scaling.md shows what it computes."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import pytest

from bench import scaling_model, spy, table
from bench.scaling_model import INPUTS, Inputs, Servers, cost, hottest

DOCUMENT = Path(__file__).parents[1] / "docs" / "scaling.md"
A_TRACE = Inputs(
    measured="nowhere",
    cpu_micros={"intake": 6.0, "judge": 12.0, "recorder": 3.0, "broker": 3.2, "clickhouse": 9.6},
    topic_bytes={"traces": 100.0, "traces_clean": 50.0, "ledger": 40.0},
    stored_bytes=50.0,
)


@pytest.mark.parametrize("module", [scaling_model, spy, table], ids=lambda module: module.__name__)
def test_examples_in_the_benchmarks_are_right(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted
    assert not found.failed


def test_a_worker_is_a_core_that_is_busy_as_much_as_it_may() -> None:
    """6 µs a trace at 100,000/s are 0.6 of a core."""
    assert cost(100_000, A_TRACE, Servers(busy=0.6)).workers == {"intake": 1, "judge": 2, "recorder": 1}


def test_brokers_are_as_many_as_their_tightest_limit_asks_for() -> None:
    """The ledger of a year: 40 bytes x 100,000/s x 365 days x 3 copies are 378 TB, the topics of a day 3.9 TB."""
    one = cost(100_000, A_TRACE, Servers(broker_disk_bytes=20e12))
    assert (one.brokers, one.brokers_because) == (20, "disk")
    writing = cost(100_000, A_TRACE, Servers(broker_disk_bytes=1e18, broker_write_bytes_s=1e6))
    assert (writing.brokers, writing.brokers_because) == (95, "writing")


def test_there_are_never_fewer_servers_than_copies() -> None:
    one = cost(10, A_TRACE, Servers())
    assert (one.brokers, one.clickhouse) == (3, 2)


def test_one_experiment_is_limited_by_one_judge() -> None:
    assert hottest(A_TRACE, Servers(busy=0.6)) == 50_000
    assert hottest(replace(A_TRACE, cpu_micros={"judge": 6.0}), Servers(busy=0.6)) == 100_000


def test_the_document_shows_what_the_model_computes_from_its_inputs() -> None:
    """Where it does not: copy what `python -m bench.scaling_model` prints."""
    inputs = Inputs.read(INPUTS)
    assert scaling_model.table(inputs, Servers()).markdown() in DOCUMENT.read_text()
    assert inputs.measured in " ".join(DOCUMENT.read_text().split())

"""The faults as tests, in the slow suite; some are in each run: test_in_each_run.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.fault import Fault, Ground, all_faults, ground
from tests.faults.test_in_each_run import IN_EACH_RUN

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(1_800)]

MINUTES = 0.1
IN_FULL = ("clickhouse-hangs", "broker-frozen")
"""Stand as long as is demanded: ten minutes without ClickHouse delay no stop, and without a broker pause nobody."""
OTHERS = [fault for fault in all_faults() if fault.name not in IN_EACH_RUN]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("faults"), minutes=MINUTES) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("fault", OTHERS, ids=lambda fault: fault.name)
def test_nothing_is_lost_nothing_counts_twice_and_every_state_is_right_after(fault: Fault, made: Ground) -> None:
    made.minutes = None if fault.name in IN_FULL else MINUTES
    found = fault.run(made)
    assert (found.lost, found.doubled, found.wrong) == (0, 0, [])
    assert found.times > 0


def test_there_is_a_script_for_each_of_the_thirty_two() -> None:
    faults = all_faults()
    assert [fault.number for fault in faults] == list(range(1, 33))
    assert len({fault.name for fault in faults}) == 32
    assert {fault.name for fault in faults} >= set(IN_EACH_RUN)

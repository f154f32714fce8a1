"""Faults that each run of the tests puts in: kills of everything, forged commands, disorder. The others are slow.

The verifier looks at what is left: the journal is the fold of the ledger as recorded, on another kind of machine; the
evidence is every valid trace exactly once; every experiment ended in the state that it had to, and so did its flag.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.fault import Ground, all_faults, ground

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

KILLS, MINUTES = 6, 0.05
IN_EACH_RUN = ("kill-at-random", "kill-after-command", "disorder", "forged-commands")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("faults"), kills=KILLS, minutes=MINUTES) as made:
        yield made


@pytest.mark.parametrize("name", IN_EACH_RUN)
def test_nothing_is_lost_nothing_counts_twice_and_every_state_is_right_after(name: str, made: Ground) -> None:
    [fault] = [fault for fault in all_faults() if fault.name == name]
    found = fault.run(made)
    assert (found.lost, found.doubled, found.wrong) == (0, 0, [])
    assert found.times > 0

"""Same version, no difference: every ledger that a test writes, folded in other processes on other kinds of machine.

Another hash seed, another number of threads, a processor without its newer instructions, other fetches, and restarts in
between must not show in one byte of what leaves the judge.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.golden.stories import STORIES
from tests.refold import hash_of, write_entries
from tests.refold_all import outputs_of
from tests.review.stories import leaked, slowed
from tests.test_replay_other_rules import eventful
from tests.timelines import Timeline

ROOT = Path(__file__).parents[1]
THREADS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TOLD: dict[str, Callable[[], Timeline]] = {
    **STORIES,
    "slowed": slowed,
    "leaked": leaked,
    "eventful": eventful,
}
# Tests whose outputs do not come from their ledger alone, and why.
NOT_OF_THE_LEDGER = {
    "test_epochs_are_compared_within_and_added_up": "closes an epoch by hand",
    "test_what_was_rejected_before_the_run_and_a_worker_that_counts_anew_are_not_held_against_an_arm": "has it forget",
    "test_a_finding_stands_in_the_way_though_it_orders_nothing": "writes a verdict by hand",
    "test_a_source_of_which_nothing_was_said_for_a_day_is_expected_by_no_run": "a day has a hundred ticks there",
    "test_what_a_stopped_segment_is_served_before_the_stop_is_applied_contradicts_nothing": "takes an ack back by hand",
    "test_measures_of_many_experiments_do_not_come_at_one_tick": "forty timelines write one ledger",
    "test_two_experiments_of_one_partition_do_not_touch_each_other": "two timelines write one ledger",
    "test_a_journal_does_not_depend_on_the_neighbours_of_its_experiment": "two timelines write one ledger",
}


@dataclass(frozen=True)
class Elsewhere:
    """A process of another kind: its environment, entries a fetch, fetches between restarts (0: none)."""

    environment: dict[str, str]
    fetch: int
    restart_every: int

    def hashes(self, directory: Path) -> dict[str, str]:
        how = [str(directory), str(self.fetch), str(self.restart_every)]
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.refold_all", *how],
            env={**os.environ, **self.environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return dict(line.split() for line in ran.stdout.splitlines())


def newer_instructions() -> str:
    """What this processor has and numpy would use, beside what it must have."""
    numpy = importlib.import_module("numpy._core._multiarray_umath")
    return " ".join(feature for feature in numpy.__cpu_dispatch__ if numpy.__cpu_features__[feature])


ELSEWHERE = {
    "one entry a fetch, no restart": Elsewhere(dict.fromkeys(THREADS, "1") | {"PYTHONHASHSEED": "0"}, 1, 0),
    "a restart after every fifth of small fetches": Elsewhere(
        dict.fromkeys(THREADS, "4") | {"PYTHONHASHSEED": "4242"}, 7, 5
    ),
    "an older processor, large fetches, a restart after each": Elsewhere(
        dict.fromkeys(THREADS, "2") | {"PYTHONHASHSEED": "1", "NPY_DISABLE_CPU_FEATURES": newer_instructions()}, 200, 1
    ),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The ledgers of some long stories, and the hashes of what the judge of this process said of them."""
    directory = tmp_path_factory.mktemp("ledgers")
    hashes = {}
    for name, story in TOLD.items():
        timeline = story()
        write_entries(directory / f"{name}.ledger", timeline.entries)
        hashes[name] = hash_of(timeline.outputs)
    return directory, hashes


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_fold_elsewhere_gives_the_same_bytes(told: tuple[Path, dict[str, str]], kind: str) -> None:
    directory, hashes = told
    assert ELSEWHERE[kind].hashes(directory) == hashes


def test_a_ledger_that_lacks_an_entry_gives_other_bytes(told: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """So that the test above can fail."""
    _, hashes = told
    write_entries(tmp_path / "leaked.ledger", [entry for entry in leaked().entries if entry.offset != 3])
    assert hash_of(outputs_of(tmp_path / "leaked.ledger", 1, 0)) != hashes["leaked"]


def writers() -> list[str]:
    """Test files that write ledgers with timelines, without those that need servers."""
    files = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    return [str(path) for path in files if _writes_alone(path.read_text())]


def _writes_alone(text: str) -> bool:
    return "Timeline" in text and not any(
        server in text for server in ("EmbeddedKafka", "EmbeddedClickHouse", "installation")
    )


@pytest.mark.slow
def test_every_ledger_of_the_test_suite_gives_the_same_bytes_elsewhere(tmp_path: Path) -> None:
    """The tests are run once more, in a process that keeps what their timelines write."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "tests.every_ledger", *writers()],
        env={**os.environ, "STOPLOSS_KEEP_LEDGERS": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stdout[-5_000:]  # whether they pass is for themselves to say
    kept = {path.stem: json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))}
    files = Counter(one["test"].split("::")[0] for one in kept.values())
    assert len(kept) > 200, files
    assert len(files) > 20, files
    for kind, elsewhere in ELSEWHERE.items():
        found = elsewhere.hashes(tmp_path)
        differ = {one["test"] for name, one in kept.items() if found[name] != one["hash"]}
        assert {test.split("::")[1] for test in differ} == set(NOT_OF_THE_LEDGER), kind

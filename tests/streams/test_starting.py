"""To start is part of a recovery: a role loads what it needs, and nothing is looked through for garbage meanwhile."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from streams.collecting import keep_what_is_there, nothing_collected

CLIENT = "clickhouse_connect.driver.client"
OF_OTHERS = {
    "intake": {"scipy", "river", CLIENT},
    "joiner": {"scipy", "river", CLIENT},
    "resolver": {"scipy", "river", "pyarrow"},
    "registrar": {"scipy", "river", "polars", "pyarrow", CLIENT},
    "judge": {"river", "polars", "pyarrow", CLIENT},
    "courier": {"scipy", "river", "polars", "pyarrow", "numpy", CLIENT},
    "recorder": {"scipy", "river"},
    "otlp": {"scipy", "river", "pyarrow", CLIENT},
}
"""What takes 30 to 200 ms of processor each, by a role that can do without."""


@pytest.mark.parametrize("role", OF_OTHERS)
def test_a_role_loads_no_library_that_only_others_need(role: str) -> None:
    told = f"import sys, streams.{role}; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()
    )
    assert f"streams.{role}" in loaded
    assert not loaded & OF_OTHERS[role]


def test_nothing_is_collected_within_and_again_behind_it() -> None:
    with nothing_collected():
        with nothing_collected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_collected_again_behind_an_error() -> None:
    with pytest.raises(ZeroDivisionError), nothing_collected():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_what_is_kept_is_not_looked_through_again() -> None:
    before, thresholds = gc.get_freeze_count(), gc.get_threshold()
    kept = [[number] for number in range(10_000)]
    keep_what_is_there()
    try:
        assert gc.get_freeze_count() - before >= len(kept)
        assert not any(one is kept for one in gc.get_objects())
        assert gc.get_threshold()[0] > thresholds[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)

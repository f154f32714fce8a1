from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from stoploss.commands import Action, Segment
from stoploss.control.position import PositionFile, position_after
from stoploss.errors import SnapshotUnreadable

from .orders import order, rollback


def test_positions_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "positions.json"
    segments = (Segment("tenant×language", "acme×de"), Segment("channel", "voice"))
    first = position_after(order(Action.STOP_SEGMENT, exposure=0.1, stopped_segments=segments), None)
    second = position_after(rollback(), None)
    PositionFile(path).save("checkout", first)
    again = PositionFile(path)
    again.save("search", second)
    last = PositionFile(path)
    assert last.all() == {"checkout": first, "search": second}


def test_a_stop_latches_for_its_run_and_no_longer() -> None:
    stopped = position_after(rollback(sequence=2), None)
    paused = position_after(order(Action.PAUSE, 3), stopped)
    resumed = position_after(order(sequence=4, run=2), paused)
    assert (stopped.latched, paused.latched, resumed.latched) == (True, True, False)


def _written(path: Path) -> dict[str, object]:
    PositionFile(path).save("checkout", position_after(order(), None))
    return json.loads(path.read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("damage", ["truncated", "empty", "binary", "list"])
def test_a_damaged_file_is_refused_with_a_way_out(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "positions.json"
    _written(path)
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-9], "empty": b"", "binary": b"\xff\x00", "list": b"[]"}[damage])
    with pytest.raises(SnapshotUnreadable, match=r"positions\.json is unreadable .* delete it"):
        PositionFile(path)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "positions.json"
    path.write_text(json.dumps({**_written(path), "format": 2}))
    with pytest.raises(SnapshotUnreadable, match="its format is 2, this version reads 1"):
        PositionFile(path)


@pytest.mark.parametrize(("field", "value"), [("run", "1"), ("sequence", None), ("latched", 1), ("exposure", "all")])
def test_a_field_of_the_wrong_type_is_refused(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "positions.json"
    position = {**dataclasses.asdict(position_after(order(), None)), field: value}
    path.write_text(json.dumps({"format": 1, "experiments": {"checkout": position}}))
    with pytest.raises(SnapshotUnreadable, match="of the wrong type"):
        PositionFile(path)


def test_a_position_that_cannot_be_saved_has_not_changed(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    positions = PositionFile(directory / "positions.json")
    directory.rmdir()
    with pytest.raises(FileNotFoundError):
        positions.save("checkout", position_after(order(), None))
    assert positions.all() == {}

from __future__ import annotations

import itertools
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from stoploss.control.files import MTIME_STEP_NS, locked, replace_file, stamp_again


def test_the_new_content_has_the_mode_asked_for_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    replace_file(path, b"one", mode=0o644)
    replace_file(path, b"two", mode=0o644)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [found.name for found in tmp_path.iterdir()] == ["flags.json"]


def test_every_new_content_is_visibly_younger_even_within_one_clock_tick(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    times_ns = []
    for number in range(50):
        replace_file(path, str(number).encode(), mode=0o644)
        times_ns.append(path.stat().st_mtime_ns)
    assert all(later - earlier >= MTIME_STEP_NS for earlier, later in itertools.pairwise(times_ns))


def test_a_content_is_younger_than_one_from_a_clock_that_ran_ahead(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    replace_file(path, b"one", mode=0o644)
    ahead_ns = path.stat().st_mtime_ns + 3_600 * 10**9
    os.utime(path, ns=(ahead_ns, ahead_ns))
    replace_file(path, b"two", mode=0o644)
    assert path.stat().st_mtime_ns == ahead_ns + MTIME_STEP_NS


def test_what_is_stamped_again_is_younger_and_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    replace_file(path, b"one", mode=0o644)
    before_ns = path.stat().st_mtime_ns
    stamp_again(path, after_s=0.0)
    deadline_s = time.monotonic() + 20
    while path.stat().st_mtime_ns < before_ns + MTIME_STEP_NS:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert path.read_bytes() == b"one"


def test_the_left_over_of_a_killed_writer_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".flags.json.tmp").write_bytes(b"half a fi")
    replace_file(tmp_path / "flags.json", b"whole", mode=0o644)
    assert [found.name for found in tmp_path.iterdir()] == ["flags.json"]


def test_a_failed_replacement_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(path, b"new", mode=0o644)
    assert [found.name for found in tmp_path.iterdir()] == ["flags.json"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    contents = [bytes([65 + number]) * 200_000 for number in range(8)]
    replace_file(path, contents[0], mode=0o644)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for content in contents:
        replace_file(path, content, mode=0o644)
    done.set()
    reader.join()
    assert seen <= set(contents)


def test_only_one_holds_the_lock_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "counter"
    path.write_text("0")

    def add() -> None:
        for _ in range(25):
            with locked(path):
                replace_file(path, str(int(path.read_text()) + 1).encode(), mode=0o644)

    writers = [threading.Thread(target=add) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() == "100"

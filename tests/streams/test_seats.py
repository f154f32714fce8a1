"""Who had a seat, and is no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from streams.seats import Seat

SITS = """
import sys, time
from pathlib import Path
from streams.seats import Seat
seat = Seat.take(Path(sys.argv[1]))
seat.note(sys.argv[2])
print("sits", flush=True)
time.sleep(600)
"""


def sitting(folder: Path, member_id: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", SITS, str(folder), member_id], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"sits\n"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_the_first_in_a_home_has_no_predecessor(tmp_path: Path) -> None:
    assert Seat.take(tmp_path / "home" / "seats").died == []


def test_who_was_killed_is_known_to_the_next_and_who_is_alive_is_not_taken_for_dead(tmp_path: Path) -> None:
    killed, alive, killed_too = (sitting(tmp_path, name) for name in ("killed", "alive", "killed-too"))
    kill(killed)
    kill(killed_too)
    assert Seat.take(tmp_path).died == ["killed", "killed-too"]
    kill(alive)


def test_a_seat_is_taken_again_and_names_whom_it_had_last(tmp_path: Path) -> None:
    for name in ("a-long-name", "short"):
        kill(sitting(tmp_path, name))
    assert Seat.take(tmp_path).died == ["short"]
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_two_in_one_process_have_two_seats(tmp_path: Path) -> None:
    first, second = Seat.take(tmp_path), Seat.take(tmp_path)
    first.note("first")
    assert second.died == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]

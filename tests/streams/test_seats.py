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
    assert Seat.take(tmp_path).died == ["short", "a-long-name"]
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_whom_the_group_was_not_told_of_is_told_by_the_next_and_nobody_is_told_twice(tmp_path: Path) -> None:
    for name in ("first", "killed-before-it-could-tell"):
        kill(sitting(tmp_path, name))
    seat = Seat.take(tmp_path)
    assert seat.died == ["killed-before-it-could-tell", "first"]
    seat.note("third")
    for member_id in list(seat.died):
        seat.told(member_id)
    assert (tmp_path / "0").read_text().split()[1:] == ["third"]


def test_the_dead_of_another_seat_are_kept_in_the_own_one(tmp_path: Path) -> None:
    for process in [sitting(tmp_path, name) for name in ("first", "second")]:
        kill(process)
    assert Seat.take(tmp_path).died == ["first", "second"]
    assert (tmp_path / "0").read_text().split()[1::2] == ["first", "second"]
    assert (tmp_path / "1").read_text() == ""


def test_who_sat_there_on_another_machine_or_before_it_was_started_anew_is_not_told_of(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("another-boot member\n")
    assert Seat.take(tmp_path).died == []


def test_an_id_that_was_not_written_to_its_end_is_none(tmp_path: Path) -> None:
    kill(sitting(tmp_path, "whole"))
    file = tmp_path / "0"
    file.write_text(file.read_text() + file.read_text()[:-2])
    assert Seat.take(tmp_path).died == ["whole"]


def test_two_in_one_process_have_two_seats(tmp_path: Path) -> None:
    first, second = Seat.take(tmp_path), Seat.take(tmp_path)
    first.note("first")
    assert second.died == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]

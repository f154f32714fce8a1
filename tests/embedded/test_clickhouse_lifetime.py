"""What was answered is kept, and what keeps the engine from starting is named with the way out."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoploss.embedded import service
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.ports import free_port
from stoploss.errors import EmbeddedUnavailable

from .asking import ask
from .processes import wait_until, wait_until_gone


@pytest.mark.parametrize("ending", ["stop", "kill -9"])
def test_every_answered_insert_survives_a(ending: str, tmp_path: Path) -> None:
    """The writer is cut off in the middle of its work."""
    service = EmbeddedClickHouse(tmp_path).start()
    ask(service, b"CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    answered: list[int] = []

    def write() -> None:
        for number in range(1_000_000):
            try:
                status, _, _ = ask(service, b"%d\n" % number, query="INSERT INTO t FORMAT CSV")
            except (OSError, http.client.HTTPException):
                return
            if status == 200:
                answered.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: len(answered) >= 20, what="20 inserts are answered")
    if ending == "kill -9":
        pid = service.pid
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
    service.stop()
    writer.join()

    with EmbeddedClickHouse(tmp_path) as again:
        _, _, body = ask(again, b"SELECT a FROM t ORDER BY a")
    kept = [int(line) for line in body.split()]
    assert kept[: len(answered)] == answered
    assert len(kept) <= len(answered) + 1  # the one whose answer was cut off


# What is missing


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_is_taken_is_named_with_the_way_out(taken: int, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedUnavailable, match=rf"127\.0\.0\.1:{taken} .* give another one, or none"):
        EmbeddedClickHouse(tmp_path, port=taken).start()


def test_a_chosen_port_that_somebody_else_takes_first_is_chosen_again(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else is a server that answers, and the look before the start comes too early to see it."""
    spare = free_port()
    choices = iter([taken, spare])
    monkeypatch.setattr(service, "free_port", lambda: next(choices))
    monkeypatch.setattr(service, "require_free", lambda port, *, title: None)
    with EmbeddedClickHouse(tmp_path) as other:
        assert other.port == spare


@pytest.mark.parametrize("module", ["chdb", "aiohttp"])
def test_a_missing_package_is_named_with_the_way_out(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(EmbeddedUnavailable, match=rf"needs .*{module}.* `pip install 'stoploss\[embedded\]'"):
        EmbeddedClickHouse(tmp_path).start()


def test_an_engine_that_dies_while_starting_leaves_its_last_words_and_no_lock(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(EmbeddedUnavailable, match=r"(?s)ended while starting, with exit code 1; see .*clickhouse\.log"):
        EmbeddedClickHouse(tmp_path).start()
    (tmp_path / "data").unlink()
    with EmbeddedClickHouse(tmp_path) as service:
        assert ask(service, b"SELECT 1")[2] == b"1\n"


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedUnavailable, match=rf"cannot use {tmp_path}/file/data \(Not a directory\)"):
        EmbeddedClickHouse(tmp_path / "file" / "data").start()


def test_a_question_mark_in_the_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedUnavailable, match="give a directory without one"):
        EmbeddedClickHouse(tmp_path / "a?b")

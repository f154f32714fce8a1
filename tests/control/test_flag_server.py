"""The flag file over HTTP, asked as pollers ask it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoploss.control.flag_server import serving_flags
from stoploss.control.flagd import FlagdFile
from stoploss.errors import ConfigurationError

from .orders import order, rollback


class Poller:
    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.tag: str | None = None

    def ask(self, path: str = "/flags.json", method: str = "GET", **headers: str) -> tuple[int, bytes]:
        self._connection.request(method, path, headers=headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self.tag = answer.getheader("ETag")
        self._connection.close()
        return answer.status, content


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flags.json"


@pytest.fixture
def poller(file: Path) -> Iterator[Poller]:
    with serving_flags(file, "127.0.0.1", 0) as port:
        yield Poller(port)


def test_a_poller_gets_the_file_once_and_again_when_a_command_has_changed_it(file: Path, poller: Poller) -> None:
    FlagdFile(file).apply(order())
    status, content = poller.ask()
    assert (status, content) == (200, file.read_bytes())
    first = poller.tag or ""
    assert poller.ask(**{"If-None-Match": first}) == (304, b"")
    assert poller.tag == first
    FlagdFile(file).apply(rollback())
    status, content = poller.ask(**{"If-None-Match": first})
    assert status == 200
    assert json.loads(content)["flags"]["checkout-model"]["defaultVariant"] == "current"
    assert poller.tag != first


def test_one_tag_of_several_and_a_weak_one_are_known(file: Path, poller: Poller) -> None:
    FlagdFile(file).apply(order())
    poller.ask()
    assert poller.ask(**{"If-None-Match": f'"other", W/{poller.tag}'})[0] == 304
    assert poller.ask(**{"If-None-Match": '"other"'})[0] == 200


def test_a_head_says_the_same_without_the_content(file: Path, poller: Poller) -> None:
    FlagdFile(file).apply(order())
    assert poller.ask(method="HEAD") == (200, b"")
    assert poller.tag is not None


def test_before_the_first_command_there_are_no_flags_and_nothing_else_is_served(file: Path, poller: Poller) -> None:
    assert poller.ask() == (503, b"no command was obeyed yet, so there are no flags")
    FlagdFile(file).apply(order())
    for path in ("/", "/flags.json.position.json", "/../flags.json", "/flags.json/"):
        assert poller.ask(path)[0] == 404
    assert poller.ask("/flags.json?since=1")[0] == 200


def test_a_taken_port_is_told_with_the_way_out(file: Path) -> None:
    with (
        serving_flags(file, "127.0.0.1", 0) as port,
        pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}.*give another --serve"),
        serving_flags(file, "127.0.0.1", port),
    ):
        pass

"""`stoploss console`: where it listens, whom its links are for, and in whose name it signs."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from stoploss.cli.console import ADDRESS, address_of, listen, print_link
from stoploss.console.asking import signing_as
from stoploss.console.sessions import Sessions
from stoploss.control.keys import create_person_keys
from stoploss.errors import ConfigurationError, RequestRefused
from stoploss.settings import Settings


def test_a_port_that_is_taken_is_passed_over() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with listen("127.0.0.1", port) as second:
            assert second.getsockname()[1] > port


def test_a_host_that_is_not_this_machines_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1, port 8765"):
        listen("192.0.2.1", 8765)


def test_an_address_of_ipv6_is_one_that_a_browser_reads() -> None:
    with listen("::1", 0) as listening:
        assert address_of(listening) == f"http://[::1]:{listening.getsockname()[1]}"


def test_a_link_for_somebody_needs_a_console_and_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOPLOSS_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="start it with `stoploss console` or `stoploss up`"):
        print_link("grace")
    (tmp_path / ADDRESS).write_text("http://127.0.0.1:8765")
    print_link("grace")
    [token] = re.findall(r"^http://127\.0\.0\.1:8765/signin\?person=grace&token=(\S+)\n$", capsys.readouterr().out)
    assert Sessions.of_home(tmp_path).knows("grace", token)
    with pytest.raises(ConfigurationError, match="is no name of a person"):
        print_link("gr|ace")


def test_in_a_container_it_says_the_address_that_people_open_and_no_link_into_its_log(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOPLOSS_")}
    environment |= {"STOPLOSS_HOME": str(tmp_path), "STOPLOSS_CONSOLE_URL": "https://stoploss.example/"}
    command = [sys.executable, "-m", "stoploss", "console", "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "console: https://stoploss.example\n"
        assert run.stdout.readline() == "a link that signs you in: stoploss console --link-for NAME\n"
        assert (tmp_path / ADDRESS).read_text() == "https://stoploss.example"
        run.send_signal(signal.SIGTERM)


def test_on_a_terminal_it_says_a_link_that_signs_in(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOPLOSS_")}
    command = [sys.executable, "-m", "stoploss", "console", "--port", "0"]
    ours, theirs = pty.openpty()
    with (
        subprocess.Popen(command, stdout=theirs, env={**environment, "STOPLOSS_HOME": str(tmp_path)}) as run,
        os.fdopen(ours) as screen,
    ):
        os.close(theirs)
        said = screen.readline().removeprefix("console: ").strip()
        with urllib.request.urlopen(said, timeout=60) as answer:
            assert "set-cookie" in answer.headers
        run.send_signal(signal.SIGTERM)


def test_a_console_says_where_it_is_answers_and_ends_with_a_signal(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOPLOSS_")}
    command = [sys.executable, "-m", "stoploss", "console", "--port", "0"]
    environment["STOPLOSS_HOME"] = str(tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        said = run.stdout.readline()
        address = said.removeprefix("console: ").strip()
        assert said.startswith("console: http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}/healthz", timeout=60) as answer:
            assert answer.read() == b"ok\n"
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 0
        assert "Traceback" not in run.stderr.read()
    assert not (tmp_path / ADDRESS).exists()


# ---- in whose name -------------------------------------------------------------------------------


def test_a_person_whose_key_the_home_has_signs_with_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    pair = create_person_keys(settings.keys / "people", "ada")
    assert signing_as("ada", settings).person_key == pair.private
    assert signing_as("grace", settings).person_key is None


def test_nobody_signs_with_the_key_of_somebody_else(tmp_path: Path) -> None:
    pair = create_person_keys(tmp_path / "elsewhere", "ada")
    settings = Settings(home=tmp_path, person_key=pair.private)
    assert signing_as("ada", settings).person_key == pair.private
    with pytest.raises(RequestRefused, match="signs with the key of ada, and you are grace"):
        signing_as("grace", settings)

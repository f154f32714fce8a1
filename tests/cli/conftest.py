"""The command line as a user runs it, but in this process: arguments in; exit code, stdout and stderr out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from stoploss import cli
from stoploss.cli.stack import environment
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.settings import Settings
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from tests.installation import Installation, installed


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line on stderr; fails where there are more or none, or stdout has any."""
        (line,) = self.err.splitlines()
        assert not self.out
        return line


class Program:
    """`stoploss` with a home of its own, and the settings of an installation where one is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], home: Path) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd
        for name in os.environ:
            if name.startswith("STOPLOSS_"):
                monkeypatch.delenv(name)
        monkeypatch.chdir(home)
        monkeypatch.setenv("COLUMNS", "80")
        # What stderr says must not depend on how fast this machine is.
        monkeypatch.setattr("stoploss.cli.progress.FIRST_S", 3_600.0)
        self.set(home=home / "home")

    def set(self, **settings: object) -> Program:
        for name, value in settings.items():
            self._monkeypatch.setenv(f"STOPLOSS_{name.upper()}", str(value))
        return self

    def of(self, settings: Settings) -> Program:
        for name, value in environment(settings).items():
            self._monkeypatch.setenv(name, value)
        return self

    def __call__(self, *arguments: str | Path) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["stoploss", *map(str, arguments)])
        self._capfd.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        captured = self._capfd.readouterr()
        return Ended(code, captured.out, captured.err)


@pytest.fixture
def stoploss(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Program:
    """capfd: what librdkafka writes goes past Python's stderr."""
    return Program(monkeypatch, capfd, tmp_path)


@pytest.fixture(scope="package")
def installation(
    kafka: EmbeddedKafka, clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """All roles in one process, and a controller: what `stoploss up` runs, on the session's servers."""
    more = {"clickhouse_url": clickhouse.url, "clickhouse_database": "command_line"}
    with installed(kafka, tmp_path_factory.mktemp("installation"), **more) as found:
        # What `stoploss tables` does: a test may read before the recorder, which does so too, has begun.
        with closing(connect(clickhouse.url, database=found.settings.clickhouse_database)) as client:
            migrate(client)
        found.worker("intake", "joiner", "resolver", "registrar", "judge", "courier", "recorder")
        found.controller()
        yield found
        found.stop()


@pytest.fixture
def live(stoploss: Program, installation: Installation) -> Program:
    """The program of the running installation."""
    return stoploss.of(installation.settings)

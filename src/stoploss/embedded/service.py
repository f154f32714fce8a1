"""What every embedded server does: own a directory, listen on loopback, be ready, stop, say what is wrong."""

from __future__ import annotations

import abc
import importlib.util
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from stoploss.embedded import lock
from stoploss.embedded.ports import free_port, require_free
from stoploss.embedded.process import GuardedProcess, start_guarded
from stoploss.errors import EmbeddedUnavailable

STOP_GRACE_S = 15.0
READY_TIMEOUT_S = 90.0
POLL_S = 0.05
PORT_ATTEMPTS = 3


class EmbeddedService(abc.ABC):
    """A server in a process of its own, on 127.0.0.1, with its data in a directory.

    directory  kept across restarts; one running server per directory
    port       None: a free one is chosen at every start, so it may differ between starts

    `start` raises EmbeddedUnavailable, with one sentence that says what is missing and what to do.
    The server ends with this process, however this process ends.
    """

    title: ClassVar[str]
    log_name: ClassVar[str]
    ready_timeout_s: ClassVar[float] = READY_TIMEOUT_S

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory.absolute()
        self._wanted_port = port
        self._port = 0
        self._process: GuardedProcess | None = None

    @property
    def log_path(self) -> Path:
        return self.directory / self.log_name

    @property
    def port(self) -> int:
        """The port it listens on, or listened on last."""
        return self._port

    @property
    def pid(self) -> int:
        """The server's process id; RuntimeError if it does not run."""
        return self._running().pid

    def start(self) -> Self:
        if self._process is not None:
            raise RuntimeError(f"{self.title} in {self.directory} was started already")
        self._require_installed()
        self._make_directory()
        for attempt in range(1, PORT_ATTEMPTS + 1):
            try:
                self._start_once()
            except _PortLost:
                if attempt == PORT_ATTEMPTS:
                    raise
            else:
                break
        return self

    def stop(self) -> None:
        """Stop in order and wait until it is gone. Does nothing if it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abc.abstractmethod
    def _require_installed(self) -> None:
        """Raise EmbeddedUnavailable if a package that it needs is not there."""

    @abc.abstractmethod
    def _prepare(self, lock_descriptor: int) -> list[str]:
        """Whatever must stand in the directory before `self.port` is opened; returns the command to run."""

    @abc.abstractmethod
    def _answers(self) -> bool:
        """Whether a client gets an answer now. May wait about a second."""

    def _environment(self) -> Mapping[str, str]:
        return {"LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedUnavailable(
                f"{self.title} cannot use {self.directory} ({error.strerror}): give a directory that can be written"
            ) from error

    def _start_once(self) -> None:
        descriptor = lock.acquire(self.directory, title=self.title, wait_s=STOP_GRACE_S + 5)
        try:
            self._port = self._wanted_port or free_port()
            require_free(self._port, title=self.title)
            self._process = self._spawn(descriptor)
        finally:
            os.close(descriptor)  # from here on the guard and the server hold it
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def _spawn(self, lock_descriptor: int) -> GuardedProcess:
        command = self._prepare(lock_descriptor)
        if self.log_path.exists():
            self.log_path.replace(self.log_path.with_suffix(".previous.log"))
        return start_guarded(
            command,
            log_path=self.log_path,
            lock_descriptor=lock_descriptor,
            grace_s=STOP_GRACE_S,
            environment=self._environment(),
        )

    def _wait_until_ready(self, process: GuardedProcess) -> None:
        deadline = time.monotonic() + self.ready_timeout_s
        while not self._answers():
            if process.exit_code is not None:
                raise self._died(process)
            if time.monotonic() > deadline:
                raise EmbeddedUnavailable(
                    f"{self.title} did not answer on port {self.port} within {self.ready_timeout_s:.0f} s; "
                    f"see {self.log_path}, which ends with:\n{process.log_tail()}"
                )
            time.sleep(POLL_S)

    def _died(self, process: GuardedProcess) -> EmbeddedUnavailable:
        end = process.log_tail()
        kind = _PortLost if "address already in use" in end.lower() else EmbeddedUnavailable
        return kind(
            f"{self.title} ended while starting, with exit code {process.exit_code}; "
            f"see {self.log_path}, which ends with:\n{end}"
        )

    def _running(self) -> GuardedProcess:
        if self._process is None:
            raise RuntimeError(f"{self.title} in {self.directory} does not run: call start() first")
        return self._process


class _PortLost(EmbeddedUnavailable):
    """Another process took a port between the look at it and the start: look again."""


def require_modules(title: str, *names: str) -> None:
    """Raise EmbeddedUnavailable if one of the modules is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise EmbeddedUnavailable(
            f"{title} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "run `pip install 'stoploss[embedded]'`, or give the address of a server that you run"
        )

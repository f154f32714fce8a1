"""The processes of an installation under a supervisor: whoever ends is started again, as an orchestrator does."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from stoploss.cli.stack import environment
from stoploss.embedded.ports import LOOPBACK, free_port
from stoploss.settings import Settings

LOOK_EVERY_S = 0.1
BACKOFF_S = 1.0
PROBE_S = 1.0
STOP_S = 30.0


@dataclass
class Member:
    """One process and its successors.

    arguments  of `python -m stoploss`
    bend       what is wrong with it (bent.py); None: nothing
    port       where it answers /readyz; another one with each start, for another program may have taken the last
    ended      exit codes with which it ended unasked
    """

    name: str
    arguments: tuple[str, ...]
    settings: Settings
    log: Path
    bend: str | None = None
    wanted: bool = True
    killed: bool = False
    port: int = 0
    starts: int = 0
    ended: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    _again_at_s: float = 0.0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def spawn(self) -> None:
        self.port = free_port()
        probed = {"STOPLOSS_HEALTH_PORT": str(self.port)} if self.arguments[0] == "worker" else {}
        module = ["stoploss"] if self.bend is None else ["tests.faults.bent", self.bend]
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *module, *self.arguments],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env={**os.environ, **environment(self.settings), **probed, "STOPLOSS_OWNED": "1"},
                start_new_session=True,
            )
        self.starts += 1

    def supervise(self) -> None:
        """Starts it again where it has ended: at once where it was killed, a moment later where it gave up."""
        if not self.wanted or self.process is None or self.running:
            return
        if self._again_at_s == 0.0:
            self.bury()
            self._again_at_s = time.monotonic() + (0.0 if self.killed else BACKOFF_S)
        if time.monotonic() >= self._again_at_s:
            self._again_at_s, self.killed = 0.0, False
            self.spawn()

    def bury(self) -> None:
        """Waits for the end of one that has ended or was killed."""
        assert self.process is not None
        assert self.process.stdin is not None
        code = self.process.wait()
        self.process.stdin.close()
        if not self.killed:
            self.ended.append(code)

    def ready(self) -> bool:
        """Whether it says that it reads all that it was assigned."""
        if not self.running:
            return False
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PROBE_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Crew:
    """All processes of an installation; `close` leaves none."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.members: dict[str, Member] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()
        threading.Thread(target=self._supervise, name="supervisor", daemon=True).start()

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def start(self, name: str, *arguments: str, bend: str | None = None, **changes: object) -> Member:
        """A new member; `changes` are of its settings alone."""
        settings = self.settings.model_copy(update=changes)
        member = Member(name, arguments, settings, self.settings.home / f"{name}.log", bend)
        with self._lock:
            member.spawn()
            self.members[name] = member
        return member

    def kill(self, name: str, *, stays_away: bool = False) -> None:
        """SIGKILL; the supervisor starts it again, or nobody until `again`."""
        with self._lock:
            member = self.members[name]
            if member.running:
                member.killed = True
                os.kill(member.pid, signal.SIGKILL)
            if stays_away:
                member.wanted = False
                member.bury()

    def bend(self, name: str, bend: str | None) -> None:
        """From its next start on."""
        self.members[name].bend = bend

    def stop(self, name: str) -> None:
        """SIGTERM, and not started again until `again`."""
        with self._lock:
            member = self.members[name]
            member.wanted = False
        if member.running:
            assert member.process is not None
            assert member.process.stdin is not None
            member.process.send_signal(signal.SIGTERM)
            member.process.wait(STOP_S)
            member.process.stdin.close()

    def again(self, name: str) -> None:
        with self._lock:
            member = self.members[name]
            member.wanted, member.killed = True, False
            member.spawn()

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.members[name].pid, number)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            for member in self.members.values():
                member.wanted = False
                if member.process is not None:
                    member.process.kill()
                    member.process.wait()
                    if member.process.stdin is not None:
                        member.process.stdin.close()

    def last_words(self) -> str:
        return "\n".join(f"--- {name}:\n{member.said[-2_000:]}" for name, member in self.members.items())

    def _supervise(self) -> None:
        while not self._closed.wait(LOOK_EVERY_S):
            with self._lock:
                for member in list(self.members.values()):
                    if not self._closed.is_set():
                        member.supervise()

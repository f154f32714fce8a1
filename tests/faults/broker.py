"""The Kafka of the faults: it keeps its ports over kills, and has a second listener that is reached through a proxy."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.embedded.ports import LOOPBACK, free_port
from tests.faults.proxy import Proxy

ENDED_S = 20.0


class PatientKafka(EmbeddedKafka):
    """On a machine that does many things at once a start after a kill may take minutes; it is measured all the same."""

    ready_timeout_s = 300.0


class Broker:
    """A running broker; whoever connects to `proxied` is told to come back by the proxy, too."""

    def __init__(self, directory: Path) -> None:
        direct, behind, controller = free_port(), free_port(), free_port()
        self.proxy = Proxy(behind)
        listeners = {"PLAINTEXT": direct, "PROXIED": behind, "CONTROLLER": controller}
        advertised = {"PLAINTEXT": direct, "PROXIED": self.proxy.port}
        self.bootstrap = f"{LOOPBACK}:{direct}"
        self._kafka = PatientKafka(
            directory,
            direct,
            properties={
                "listeners": _addresses(listeners),
                "advertised.listeners": _addresses(advertised),
                "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
                "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
            },
        )

    @property
    def proxied(self) -> str:
        return f"{LOOPBACK}:{self.proxy.port}"

    @property
    def pid(self) -> int:
        return self._kafka.pid

    @property
    def data(self) -> Path:
        return self._kafka.directory / "data"

    def __enter__(self) -> Self:
        self._kafka.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.runs:
            self.thaw()
        self._kafka.stop()
        self.proxy.close()

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        os.kill(self._kafka.pid, signal.SIGKILL)
        self._kafka.stop()

    def wait_until_it_ended(self) -> None:
        deadline_s = time.monotonic() + ENDED_S
        while self.runs and time.monotonic() < deadline_s:
            time.sleep(0.1)
        self._kafka.stop()

    def start(self) -> None:
        """Returns when clients get answers."""
        self._kafka.start()

    def revive(self) -> None:
        """It runs and answers, whatever the script before has left."""
        self.proxy.mend()
        if self.runs:
            self.thaw()
        else:
            self.start()

    @property
    def runs(self) -> bool:
        try:
            return os.path.exists(f"/proc/{self._kafka.pid}")
        except RuntimeError:  # it was stopped, and not started again
            return False

    def freeze(self) -> None:
        os.kill(self._kafka.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._kafka.pid, signal.SIGCONT)


def _addresses(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())

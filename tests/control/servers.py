"""A real Alertmanager that tells a webhook of the test's."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stoploss.control.alertmanager import Alertmanager
from stoploss.control.alerts import Alert
from stoploss.control.post import Endpoint

from .receiver import WAIT_S, Receiver, receiving

CONFIG = """
route: {{receiver: on-call, group_by: [alertname, experiment], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: on-call, webhook_configs: [{{url: "{url}", send_resolved: true}}]}}]
"""


class Server:
    """A running Alertmanager that tells `receiver`."""

    def __init__(self, address: str, receiver: Receiver) -> None:
        self.address = address
        self.receiver = receiver
        self.client = Alertmanager(Endpoint(f"{address}/api/v2/alerts"))

    def alerts(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.address}/api/v2/alerts", timeout=5) as response:
            return json.load(response)  # type: ignore[no-any-return]

    def told(self, alert: Alert, status: str) -> dict[str, Any]:
        """The notification of this alert alone, in this status."""

        def wanted(body: dict[str, Any]) -> bool:
            return body["status"] == status and [told["labels"] for told in body["alerts"]] == [alert.labels]

        return self.receiver.wait_for(wanted)  # type: ignore[no-any-return]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Alertmanager ended with {process.returncode}"
        try:
            with urllib.request.urlopen(f"{address}/-/ready", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)
    raise AssertionError(f"Alertmanager was not ready within {WAIT_S} s")


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program = shutil.which("prometheus-alertmanager")
    assert program is not None, "no prometheus-alertmanager here; `make servers` installs it"
    directory = tmp_path_factory.mktemp("alertmanager")
    port = _free_port()
    with receiving() as receiver:
        config = directory / "am.yml"
        config.write_text(CONFIG.format(url=receiver.url))
        with running(program, config, port, directory) as process:
            _wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield Server(f"http://127.0.0.1:{port}", receiver)


@contextmanager
def running(program: str, config: Path, port: int, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Both listen flags: gossip binds all interfaces otherwise."""
    process = subprocess.Popen(
        [
            program,
            f"--config.file={config}",
            f"--storage.path={directory}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()

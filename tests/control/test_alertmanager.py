"""On the real Alertmanager: what it takes, what it passes on, and that our own webhook has the shape of its."""

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
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from stoploss.control import webhook
from stoploss.control.alertmanager import FIRING_FOR, Alertmanager, payload
from stoploss.control.alerts import Alert, alert_for, linked, resolved
from stoploss.control.controller import wall_clock
from stoploss.control.post import Endpoint

from .orders import EVIDENCE, NOW, SECOND, rollback
from .receiver import WAIT_S, Receiver, receiving

CONFIG = """
route: {{receiver: on-call, group_by: [alertname, experiment], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: on-call, webhook_configs: [{{url: "{url}", send_resolved: true}}]}}]
"""


def _alert(**changes: Any) -> Alert:
    command = rollback(evidence=EVIDENCE, decided_at=wall_clock(), **changes)
    return alert_for(command, runbook="https://runbook")


def test_firing_and_resolved_alerts_are_written_as_its_api_reads_them() -> None:
    firing = alert_for(rollback())
    ended = resolved(firing, NOW + SECOND)
    first, second = payload([firing, ended], firing_until=NOW + 60 * SECOND)
    assert first == {
        "labels": firing.labels,
        "annotations": firing.annotations,
        "startsAt": "2023-11-14T22:13:20.000000Z",
        "endsAt": "2023-11-14T22:14:20.000000Z",
    }
    assert second == {**first, "endsAt": "2023-11-14T22:13:21.000000Z"}


def test_an_end_before_the_start_is_never_sent_for_it_would_be_refused() -> None:
    (entry,) = payload([resolved(alert_for(rollback()), NOW - SECOND)], firing_until=NOW)
    assert entry["endsAt"] == entry["startsAt"]


def test_a_firing_alert_outlives_its_sender_by_a_day() -> None:
    with receiving() as server:
        Alertmanager(Endpoint(server.url), clock=lambda: NOW).post([alert_for(rollback())])
    assert FIRING_FOR == 86_400 * SECOND
    assert server.bodies[0][0]["endsAt"] == "2023-11-15T22:13:20.000000Z"


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


def test_a_firing_alert_reaches_on_call_and_so_does_its_end(alertmanager: Server) -> None:
    alert = _alert(experiment="fires-and-ends")
    assert alertmanager.client.post([alert]).ok
    assert alertmanager.told(alert, "firing")["commonAnnotations"] == alert.annotations
    assert alertmanager.client.post([resolved(alert, wall_clock())]).ok
    assert alertmanager.told(alert, "resolved")["alerts"][0]["status"] == "resolved"


def test_on_call_gets_labels_to_route_by_and_links_to_open(alertmanager: Server) -> None:
    evidence = replace(EVIDENCE, rule="guardrail[0]")
    command = rollback(experiment="routed", evidence=evidence, decided_at=wall_clock())
    alert = linked(alert_for(command), console="https://console", runbooks="https://docs/runbook.md")
    assert alertmanager.client.post([alert]).ok
    told = alertmanager.told(alert, "firing")["alerts"][0]
    assert set(told["labels"]) == {"alertname", "severity", "experiment", "variant", "segment", "rule"}
    assert set(told["annotations"]) == {"summary", "evidence", "runbook_url", "console_url", "run"}
    assert told["generatorURL"] == told["annotations"]["console_url"] == "https://console/experiments/routed"


def test_the_same_alert_posted_twice_is_one_alert(alertmanager: Server) -> None:
    alert = _alert(experiment="posted-twice")
    assert alertmanager.client.post([alert, alert]).ok
    assert alertmanager.client.post([alert]).ok
    alertmanager.told(alert, "firing")
    assert [found["labels"] for found in alertmanager.alerts()].count(alert.labels) == 1


def test_our_own_webhook_says_what_alertmanagers_says(alertmanager: Server) -> None:
    alert = _alert(experiment="same-shape")
    assert alertmanager.client.post([alert]).ok
    theirs = alertmanager.told(alert, "firing")
    ours = webhook.payload([alert], receiver="on-call", external_url=theirs["externalURL"])
    (their_entry,), (our_entry,) = theirs["alerts"], ours["alerts"]
    our_start, their_start = our_entry.pop("startsAt"), their_entry.pop("startsAt")
    assert datetime.fromisoformat(our_start) == datetime.fromisoformat(their_start)
    assert ours == theirs


def test_what_alertmanager_refuses_comes_back_with_its_reason(alertmanager: Server) -> None:
    nameless = Alert("", "", "", "", "", "", 1, "No labels at all.", "", "", wall_clock())
    posted = alertmanager.client.post([nameless])
    assert not posted.ok
    assert "answered 400" in posted.reason

"""From a pause and a finding to on-call, and to the end of both: real roles, the real Alertmanager, a webhook."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from stoploss import journal
from stoploss.commands import Evidence
from stoploss.journal import GENESIS, Finding, JournalEntry
from tests.control.servers import Server, alertmanager
from tests.installation import Installation, Kafka, appending, installed
from tests.timelines import SPEC

__all__ = ["alertmanager"]

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

NAME = "checkout"
SAID = "the split is off"


@pytest.fixture(scope="module")
def installation(
    kafka: Kafka, alertmanager: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("on-call")
    with installed(kafka, home, alertmanager_url=alertmanager.address) as found:
        found.worker("courier")
        role = found.worker("registrar", "judge")
        found.wait(lambda: role.said.count("restored") == 2, timeout_s=180)  # before anybody asks
        yield found


@dataclass(frozen=True, slots=True)
class OnCall:
    """What the webhook behind the Alertmanager was told of the experiment."""

    server: Server
    installation: Installation

    def told(self, alertname: str, status: str) -> dict[str, Any]:
        """Of one alert, once it was."""
        self.installation.wait(lambda: self._said(alertname, status), timeout_s=120)
        return self._said(alertname, status)[0]

    def _said(self, alertname: str, status: str) -> list[dict[str, Any]]:
        alerts = [alert for body in list(self.server.receiver.bodies) for alert in body["alerts"]]
        wanted = {"alertname": alertname, "experiment": NAME}
        return [one for one in alerts if one["status"] == status and wanted.items() <= one["labels"].items()]


def concluded(installation: Installation, finding: Finding) -> None:
    """As the judge writes it."""
    entry = JournalEntry("e1000", NAME, 1_000, 1, 1, time.time_ns() // 1_000, 0, 10**9, 1_000, GENESIS, finding)
    appender = appending(installation.settings)
    topic = installation.settings.topics("journal")
    appender.append(topic, journal.encode(entry), key=NAME.encode(), partition=0)
    appender.flush()


def test_a_command_and_a_finding_reach_on_call_and_a_persons_resume_ends_both(
    alertmanager: Server, installation: Installation
) -> None:
    installation.ask("register", NAME, spec=SPEC)
    installation.ask("start", NAME)
    installation.ask("pause", NAME)
    concluded(installation, Finding("hold", "evidence_above_limit", SAID, "hold", Evidence("sample_ratio", 1)))

    on_call = OnCall(alertmanager, installation)
    pause, finding = (on_call.told(name, "firing") for name in ("StoplossPause", "StoplossFinding"))
    assert pause["labels"] | {"severity": "hold", "variant": "small"} == pause["labels"]
    assert "asked by a test" in pause["annotations"]["summary"]
    assert (finding["labels"]["rule"], finding["annotations"]["summary"]) == ("sample_ratio", SAID)

    installation.ask("resume", NAME)
    for name in ("StoplossPause", "StoplossFinding"):
        assert on_call.told(name, "resolved")["endsAt"] > pause["startsAt"]

"""`stoploss break-glass` on the real broker, while the monitor is down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stoploss.cli.stack import environment
from stoploss.control.keys import create_break_glass_keys
from stoploss.journal import RequestHandled
from stoploss.lifecycle import BREAK_GLASS
from tests.installation import Installation, Kafka, installed, journal_of, registry_of
from tests.timelines import SPEC

pytestmark = pytest.mark.kafka

CONTROLLED = SPEC.replace("control: current}", "control: current, controllers: [flagd]}")
NAME = "checkout"


@pytest.fixture
def installation(kafka: Kafka, tmp_path: Path) -> Iterator[Installation]:
    with installed(kafka, tmp_path) as found:
        create_break_glass_keys(found.settings.keys)
        yield found


def flag(installation: Installation) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(installation.flag_file.read_text())["flags"][NAME]
    return found


def served(installation: Installation) -> bool:
    return installation.flag_file.exists() and "targeting" in flag(installation)


def stoploss(installation: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stoploss", *arguments],
        env={**os.environ, **environment(installation.settings)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_takes_the_treatment_away_without_a_monitor_and_the_journal_has_it_later(installation: Installation) -> None:
    monitor = installation.worker("registrar", "judge", "courier")
    controller = installation.controller()
    installation.ask("register", NAME, spec=CONTROLLED)
    installation.ask("start", NAME)
    installation.wait(lambda: served(installation))
    monitor.kill()

    ended = stoploss(installation, "break-glass", NAME, "--to", "control", "-m", "it hurts people")
    assert ended.returncode == 0, ended.stderr
    assert "checkout: everybody is to get 'current'" in ended.stdout
    assert "flagd/one has applied it" in ended.stdout
    assert "nobody has said why" not in ended.stdout
    assert not served(installation)

    controller.kill()
    ended = stoploss(installation, "break-glass", NAME, "--to", "control", "--json")
    assert ended.returncode == 3
    answer = json.loads(ended.stdout)
    assert (answer["unanswered"], answer["explained"]) == (["flagd"], False)

    installation.worker("registrar", "judge", "courier")
    installation.controller()
    ended = stoploss(installation, "break-glass", NAME, "--to", "control")
    assert ended.stdout.endswith("nobody has said why yet; say it, for good: stoploss note checkout --reason '…'\n")
    installation.wait(lambda: lifecycle(installation) == "stopped")
    installation.wait(lambda: [handled.accepted for handled in broken(installation)] == [True, True, True])
    assert "it hurts people" in broken(installation)[0].reason
    assert installation.ask("resume", NAME).accepted
    installation.wait(lambda: served(installation))


def lifecycle(installation: Installation) -> str:
    entry = registry_of(installation.settings, NAME)
    return entry.lifecycle if entry else ""


def broken(installation: Installation) -> list[RequestHandled]:
    conclusions = [entry.conclusion for entry in journal_of(installation.settings, NAME)]
    return [c for c in conclusions if isinstance(c, RequestHandled) and c.action == BREAK_GLASS]


def test_without_the_key_nothing_is_sent_and_the_way_to_one_is_named(installation: Installation) -> None:
    (installation.settings.keys / "break-glass.key").unlink()
    ended = stoploss(installation, "break-glass", NAME, "--to", "control")
    assert ended.returncode == 1
    assert "cannot read the signing key" in ended.stderr


def test_what_is_not_registered_is_refused(installation: Installation) -> None:
    ended = stoploss(installation, "break-glass", "nothing", "--to", "control")
    assert (ended.returncode, ended.stderr) == (
        1,
        "stoploss: experiment 'nothing' is not registered; registered: none\n",
    )

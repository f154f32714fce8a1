"""The alerts about the monitor itself, by a real promtool: each fires on its series after its time, or is silent."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[1] / "deploy" / "prometheus"
RULES, TESTS = FOLDER / "stoploss.rules.yaml", FOLDER / "stoploss.rules.test.yaml"
ALERTS = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
ASKED = [asked for test in yaml.safe_load(TESTS.read_text())["tests"] for asked in test["alert_rule_test"]]


def promtool(tests: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True, check=False)


def test_alerts_fire_on_the_series_they_are_for_and_not_otherwise() -> None:
    done = promtool(TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_asked_for_where_it_fires_and_where_it_does_not(alert: str) -> None:
    said = {bool(asked["exp_alerts"]) for asked in ASKED if asked["alertname"] == alert}
    assert said == {True, False}


@pytest.mark.parametrize("instead", ["vector(0) > 0", "vector(1)"])
def test_rules_that_never_or_always_fire_would_be_found(tmp_path: Path, instead: str) -> None:
    """The tests above can fail."""
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = instead
    (tmp_path / RULES.name).write_text(yaml.safe_dump(rules))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    told = promtool(tmp_path / TESTS.name)
    assert [alert for alert in ALERTS if f"alertname: {alert}," not in told.stdout + told.stderr] == []

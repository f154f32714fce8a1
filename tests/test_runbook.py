"""Whoever is paged finds a chapter, and no chapter or rule speaks of what does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from prometheus_client import REGISTRY

from stoploss.commands import Action
from stoploss.control import alerts
from streams import measuring

ROOT = Path(__file__).parents[1]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
CHAPTERS = set(re.findall(r"^## (\w+)$", RUNBOOK, flags=re.MULTILINE))
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/stoploss.rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
FROM_THE_COURIER = {
    *(alerts.alertname_of(action) for action in Action if action != Action.UNKNOWN),
    *(value for name, value in vars(alerts).items() if name.isupper() and isinstance(value, str)),
}
LABELS_OF_PROMETHEUS = {"up"}


def test_every_alert_has_its_chapter_and_every_chapter_its_alert() -> None:
    alerts_there_are = FROM_THE_COURIER | {rule["alert"] for rule in RULES}
    assert alerts_there_are == CHAPTERS


def test_every_chapter_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    for chapter in re.split(r"^##? ", RUNBOOK, flags=re.MULTILINE)[1:]:
        title, _, text = chapter.partition("\n")
        if title in CHAPTERS:
            parts = re.findall(r"^\*\*([^*]+)\.\*\* \S", text, flags=re.MULTILINE)
            assert parts == ["Means", "Look at", "Do"], title


def test_rules_ask_for_figures_that_a_worker_tells() -> None:
    asked = [*measuring.Lags({}).collect(), *measuring.Sights(dict).collect()]
    told = {
        sample
        for family in [*REGISTRY.collect(), *asked]
        for sample in (family.name, *_series(family.name, family.type))
    }
    wanted = {name for rule in RULES for name in re.findall(r"\b(stoploss_\w+|up)\b", rule["expr"])}
    assert wanted - LABELS_OF_PROMETHEUS <= told


def _series(name: str, kind: str) -> tuple[str, ...]:
    suffixes = {"counter": ("total",), "histogram": ("bucket", "count", "sum")}
    return tuple(f"{name}_{suffix}" for suffix in suffixes.get(kind, ()))

"""Grafana's own alert rules, for who has no Alertmanager: what the store alone can tell, by file.

They watch what no other alert does: that nothing is stored any more, and that what was ordered is not applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grafana import overview
from grafana.query import DATASOURCE

PATH = Path(__file__).parent / "provisioning" / "alerting" / "stoploss.yaml"
LOOKS_BACK_S = 3_600

STALE = """
SELECT countIf(dateDiff('second', m.last, $__toTime) > 120) AS experiments FROM (
    SELECT experiment, lifecycle FROM registry_v ORDER BY changed_at DESC, ledger_offset DESC LIMIT 1 BY experiment
) AS r INNER JOIN (
    SELECT experiment, max(at) AS last FROM measures_verdicts_copies_v GROUP BY experiment
) AS m ON r.experiment = m.experiment
WHERE lifecycle IN ('running', 'holding', 'adopted')"""


@dataclass(frozen=True, slots=True)
class Rule:
    """
    uid      what Grafana knows it by
    sql      gives one number; more than 0 fires
    after    how long it has to stay so
    summary  what to do
    """

    uid: str
    title: str
    sql: str
    after: str
    summary: str


RULES = (
    Rule(
        "stoploss-not-measured",
        "Running experiments are not measured",
        STALE,
        "2m",
        "Judge, recorder or Kafka stands: read StoplossJudgeBehind in the runbook.",
    ),
    Rule(
        "stoploss-not-applied",
        "Commands are not applied",
        overview.NOT_APPLIED,
        "1m",
        "Set the flag by hand, then read StoplossCommandOverdue in the runbook.",
    ),
    Rule(
        "stoploss-blind",
        "Experiments that nobody watches",
        overview.BLIND,
        "0s",
        "The monitor is blind for them: read StoplossMonitorBlind in the runbook.",
    ),
)


def rule_json(rule: Rule) -> dict[str, Any]:
    query = {
        "refId": "A",
        "relativeTimeRange": {"from": LOOKS_BACK_S, "to": 0},
        "datasourceUid": DATASOURCE.uid,
        "model": {"refId": "A", "editorType": "sql", "queryType": "table", "format": 1, "rawSql": rule.sql.strip()},
    }
    above = {
        "refId": "B",
        "datasourceUid": "__expr__",
        "model": {
            "refId": "B",
            "type": "threshold",
            "expression": "A",
            "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
        },
    }
    return {
        "uid": rule.uid,
        "title": rule.title,
        "condition": "B",
        "data": [query, above],
        "for": rule.after,
        "noDataState": "OK",
        "execErrState": "Alerting",
        "labels": {"severity": "page"},
        "annotations": {"summary": rule.summary},
    }


def text() -> str:
    group = {
        "orgId": 1,
        "name": "stoploss",
        "folder": "stoploss",
        "interval": "1m",
        "rules": [rule_json(rule) for rule in RULES],
    }
    written = yaml.safe_dump({"apiVersion": 1, "groups": [group]}, sort_keys=False, width=1_000, allow_unicode=True)
    return f"# Written by python -m grafana.build.\n{written}"

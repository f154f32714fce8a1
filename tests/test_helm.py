"""deploy/helm/stoploss: its values are what its schema says, its roles and settings are those that there are."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stoploss.settings import Settings
from streams.worker import ROLES

CHART = Path(__file__).parents[1] / "deploy" / "helm" / "stoploss"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = jsonschema.Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))
TEMPLATES = "\n".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))


def changed(path: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(VALUES)
    *parents, name = path.split(".")
    node = values
    for parent in parents:
        node = node[parent]
    node[name] = value
    return values


def test_the_charts_own_values_are_what_its_schema_says() -> None:
    SCHEMA.validate(VALUES)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("kafka.bootstrap", "kafka"),
        ("kafka.protocol", "SASL_PLAINTEXT"),
        ("clickhouse.urls.recorder", "https://recorder:password@clickhouse:8443"),
        ("image.tag", "latest"),
        ("roles.judge.replicas", -1),
        ("roles.jduge", {"replicas": 1, "memory": "1Gi", "cpu": "1", "cpuLimit": "2"}),
        ("networkPolicy.kafkaPorts", []),
        ("retention.schedule", "hourly"),
        ("retention.memory", "some"),
        ("roles.judge.cpuLimit", "much"),
    ],
)
def test_a_wrong_value_is_refused(path: str, value: object) -> None:
    assert not SCHEMA.is_valid(changed(path, value))


def test_every_role_has_its_deployment_and_every_setting_is_one() -> None:
    assert set(VALUES["roles"]) == set(ROLES)
    named = set(re.findall(r"name: STOPLOSS_(\w+)", TEMPLATES))
    assert named <= {name.upper() for name in Settings.model_fields}
    assert len(named) > 15


def test_every_container_is_held_to_processors_and_memory() -> None:
    limits = re.findall(r"limits: \{cpu: \{\{ \$?\w*\.cpuLimit \| quote \}\}, memory: ", TEMPLATES)
    assert len(limits) == TEMPLATES.count("resources:") == 2


def test_of_a_secret_a_role_gets_the_entries_that_are_named_and_the_judge_alone_signs() -> None:
    """Where nothing of it is named, Kubernetes mounts all of it: each mount names items, and has its condition.

    The job of retention has none, since it always has a password for ClickHouse.
    """
    mounts = re.findall(r"(?:\{\{- if \$(\w+) \}\}\n)? +- name: \w+\n +secret:\n(?: +\w+: .*\n)+? +items:", TEMPLATES)
    assert mounts == ["secrets", "keys", ""]
    assert TEMPLATES.count("secretName:") == len(mounts)
    assert re.findall(r'"(\w+)" \(list [^)]*"monitor\.key"', TEMPLATES) == ["judge"]


def test_no_container_is_given_rights() -> None:
    for line in (
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "drop: [ALL]",
    ):
        assert TEMPLATES.count(line) == 1

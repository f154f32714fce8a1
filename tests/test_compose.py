"""docker-compose.yml and what it mounts: they parse, stand where they are named, and open nothing to the network."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_command

from grafana import alerting
from grafana.pages import PAGES
from stoploss.cli import app
from stoploss.settings import Settings
from stoploss.store import schema
from streams.worker import ROLES

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
THEIRS = {name: service for name, service in SERVICES.items() if "build" not in service}
USERS = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "users.xml")


WITHOUT_A_SHELL = {"collector", "flagd"}
"""Their images hold nothing that a health check could run."""
WRITES_ITS_ROOT = {"kafka", "clickhouse", "grafana", "schema-registry"}
"""Their images write configuration or plugins beside their programs when they begin."""


def grants(user: str) -> list[str]:
    return [str(query.text) for query in USERS.findall(f"users/{user}/grants/query")]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_an_image_is_pinned_to_a_version(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.match(r"v?\d+\.\d+", tag), tag


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_port_is_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_mount_is_a_file_of_the_project_or_a_declared_volume(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source, target, *mode = mount.split(":")
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


def test_the_file_is_one_of_the_compose_specification() -> None:
    """The specification's own schema, Apache License 2.0, as compose-go v2.6.4 carries it."""
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


@pytest.mark.parametrize("name", sorted(THEIRS.keys() - WITHOUT_A_SHELL))
def test_a_server_says_when_it_is_ready(name: str) -> None:
    assert THEIRS[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_has_limits_and_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service.get("read_only", False) == (name not in WRITES_ITS_ROOT)
    assert service.get("user", "1000") not in ("root", "0", "0:0")


def test_what_is_mounted_from_the_project_is_what_the_part_reads() -> None:
    """Where there is a file in a folder that a part only reads when told: its command names it."""
    for name, path in (("alertmanager", "alertmanager.yml"), ("collector", "config.yaml")):
        (target,) = [mount.split(":")[1] for mount in SERVICES[name]["volumes"] if mount.startswith("./")]
        assert target.endswith(path)
        assert any(target in argument for argument in SERVICES[name]["command"])


def test_alertmanager_can_read_its_configuration() -> None:
    checked("amtool", "check-config", ROOT / "deploy" / "alertmanager.yml")


def test_prometheus_can_read_its_configuration_and_rules() -> None:
    checked("promtool", "check", "config", ROOT / "deploy" / "prometheus" / "prometheus.yml")


def checked(*command: str | Path) -> None:
    """The program of Debian's packages prometheus and prometheus-alertmanager finds no fault."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_worker_is_asked_whether_it_is_ready_and_for_its_figures(role: str) -> None:
    port = SERVICES[role]["environment"]["STOPLOSS_HEALTH_PORT"]
    assert f"http://127.0.0.1:{port}/readyz" in SERVICES[role]["healthcheck"]["test"][-1]
    [scraped] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert f"{role}:{port}" in scraped["static_configs"][0]["targets"]


def test_every_role_runs_once() -> None:
    commands = [service["command"] for service in OURS.values()]
    assert sorted(command[1:] for command in commands if command[0] == "worker") == sorted([role] for role in ROLES)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_command_is_one_that_stoploss_has(name: str) -> None:
    known = set(cast(TyperGroup, get_command(app)).commands)
    shell = " ".join(OURS[name]["command"])
    assert set(re.findall(r"stoploss (\w+)", f"stoploss {shell}" if "entrypoint" not in OURS[name] else shell)) <= known


def test_settings_in_the_environment_are_settings_that_exist() -> None:
    known = {f"STOPLOSS_{name.upper()}" for name in Settings.model_fields}
    for service in OURS.values():
        assert set(service["environment"]) <= known


def test_addresses_name_services_and_ports_that_they_listen_on() -> None:
    environment = OURS["judge"]["environment"]
    assert "INTERNAL://kafka:19092" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert environment["STOPLOSS_KAFKA"] == "kafka:19092"
    assert environment["STOPLOSS_CLICKHOUSE_URL"].endswith("@clickhouse:8123")
    assert environment["STOPLOSS_ALERTMANAGER_URL"] == "http://alertmanager:9093"


def test_no_password_is_written_down_and_the_example_names_them_all() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    assert asked == set(re.findall(r"\$\{(\w+)", text))
    example = (ROOT / "deploy" / "example.env").read_text()
    assert asked == set(re.findall(r"^(\w+)=$", example, re.MULTILINE))
    assert {node.get("from_env") for node in USERS.iter("password")} < asked


def test_the_writer_cannot_change_or_delete_a_row() -> None:
    (granted,) = grants("stoploss")
    assert not re.search(r"ALTER UPDATE|DELETE|TRUNCATE|DROP TABLE|OPTIMIZE|ALL", granted)
    assert re.findall(r"ALTER[ A-Z]*", granted) == ["ALTER ADD COLUMN", "ALTER MODIFY COLUMN", "ALTER TTL"]
    assert granted.endswith("ON stoploss.*")


def test_grafana_may_read_what_its_panels_read_and_no_dead_letters_bytes() -> None:
    granted = grants("grafana")
    assert all(grant.startswith("GRANT SELECT") for grant in granted)
    readable = {grant.rpartition(".")[2] for grant in granted}
    queries = [sql for page in PAGES for sql in (page.annotations, *(panel.sql for panel in page.panels))]
    sql = " ".join((*queries, *(rule.sql for rule in alerting.RULES)))
    views = set(re.findall(r"FROM (\w+_v)\b", sql))
    assert readable == views | {view.removesuffix("_v") for view in views if not view.endswith("_shown_v")}
    (columns,) = re.findall(r"SELECT\((.*)\) ON stoploss\.dead_letters$", "\n".join(granted), re.MULTILINE)
    hidden = {"key", "value"}
    assert columns.split(", ") == [name for name in schema.tables()["dead_letters"].names if name not in hidden]


def test_readers_are_held_to_reading() -> None:
    assert USERS.findtext("profiles/stoploss_reader/readonly") == "2"
    assert USERS.findtext("users/grafana/profile") == "stoploss_reader"


def test_alerts_that_page_have_a_receiver_of_their_own() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "alertmanager.yml").read_text())
    receivers = {receiver["name"] for receiver in config["receivers"]}
    routes = [config["route"], *config["route"]["routes"]]
    assert {route["receiver"] for route in routes} == receivers
    assert config["route"]["routes"][0]["matchers"] == ['severity="page"']


def test_the_image_holds_the_locked_versions_and_does_not_run_as_root() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    assert "USER stoploss" in lines
    assert "requirements/dev.lock" in " ".join(lines)
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            *sources, _ = line.removeprefix("COPY ").split()
            assert all((ROOT / source).exists() for source in sources), line

"""docker-compose.yml, alone and secure, and what it mounts: all stands where it is named, and nothing is open to the
network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
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
from stoploss.acls import GRANTS
from stoploss.cli import app
from stoploss.cli.stack import environment
from stoploss.control.credentials import ADMIN, BROKER_FILE, CA_FILE, PASSWORD_SUFFIX, user_names
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.settings import Settings, load
from stoploss.store import schema
from streams.worker import ROLES
from tests import compose
from tests.installation import installed, registry_of

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
FILES = {"plain": compose.plain(), "secure": compose.secure()}
SERVICES: dict[str, dict[str, Any]] = FILES["plain"]["services"]
SECURE: dict[str, dict[str, Any]] = FILES["secure"]["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
THEIRS = {name: service for name, service in SERVICES.items() if "build" not in service}
both = pytest.mark.parametrize("which", FILES)
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


@both
@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_port_is_published_on_loopback_only(which: str, name: str) -> None:
    for port in FILES[which]["services"][name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@both
@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_mount_is_a_file_of_the_project_or_a_declared_volume(which: str, name: str) -> None:
    for mount in FILES[which]["services"][name].get("volumes", []):
        source, target, *mode = mount.split(":")
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == ["ro"]
        else:
            assert source in FILES[which]["volumes"]


@both
def test_the_file_is_one_of_the_compose_specification(which: str) -> None:
    """The specification's own schema, Apache License 2.0, as compose-go v2.6.4 carries it."""
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(FILES[which])


@both
@pytest.mark.parametrize("name", sorted(THEIRS.keys() - WITHOUT_A_SHELL))
def test_a_server_says_when_it_is_ready(which: str, name: str) -> None:
    assert FILES[which]["services"][name]["healthcheck"]["test"][0] == "CMD"


@both
@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_has_limits_and_no_rights_that_it_does_not_need(which: str, name: str) -> None:
    service = FILES[which]["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert 0 < service["cpus"] <= 2  # Docker refuses more than the machine has
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


@pytest.mark.parametrize("role", sorted([*ROLES, "flags"]))
def test_a_worker_or_controller_is_asked_whether_it_is_ready_and_for_its_figures(role: str) -> None:
    port = SERVICES[role]["environment"]["STOPLOSS_HEALTH_PORT"]
    assert f"http://127.0.0.1:{port}/readyz" in SERVICES[role]["healthcheck"]["test"][-1]
    [scraped] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert f"{role}:{port}" in scraped["static_configs"][0]["targets"]


def test_somebody_says_how_long_what_is_stored_stays() -> None:
    """P3: nothing else does, and an hour after an incident was opened its evidence is kept."""
    assert SERVICES["retention"]["command"] == ["retention", "--every", "1h"]
    assert "ALTER TTL" in grants("stoploss")[0]


def test_every_role_runs_once() -> None:
    commands = [service["command"] for service in OURS.values()]
    assert sorted(command[1:] for command in commands if command[0] == "worker") == sorted([role] for role in ROLES)


@both
@pytest.mark.parametrize("name", sorted(OURS))
def test_a_command_is_one_that_stoploss_has(which: str, name: str) -> None:
    known = set(cast(TyperGroup, get_command(app)).commands)
    service = FILES[which]["services"][name]
    shell = " ".join(service["command"])
    assert set(re.findall(r"stoploss (\w+)", f"stoploss {shell}" if "entrypoint" not in service else shell)) <= known


@both
def test_settings_in_the_environment_are_settings_that_exist(which: str) -> None:
    known = {f"STOPLOSS_{name.upper()}" for name in Settings.model_fields}
    for name in OURS:
        assert set(FILES[which]["services"][name]["environment"]) <= known


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_the_quickstart_ends_with_a_stop_and_what_led_to_it(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Its very script, with the parts that it waits for and the one that stores what they conclude."""
    with (
        EmbeddedClickHouse(tmp_path / "clickhouse") as clickhouse,
        installed(kafka, tmp_path / "home", clickhouse_url=clickhouse.url) as installation,
    ):
        for role in SERVICES["quickstart"]["depends_on"].keys() & ROLES.keys():
            installation.worker(role)
        installation.worker("courier")
        installation.controller()
        done = subprocess.run(
            ["sh", "-ec", SERVICES["quickstart"]["command"][0].replace("cd /tmp", f"cd {tmp_path}")],
            env={**os.environ, **environment(installation.settings), "PATH": f"{BIN}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        entry = registry_of(installation.settings, "my-first-experiment")
        installation.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert entry is not None
    assert entry.lifecycle == "stopped"
    assert "card number" in done.stdout


# ---- the secure one --------------------------------------------------------------------------------


USER_OF = {role: role for role in ROLES} | {
    "console": "person",
    "flags": "controller",
    "collector": "collector",
    "retention": "retention",
}
"""Service -> whose line of the table of ACLs it works under."""


def secrets_of(name: str) -> set[str]:
    return set(SECURE[name].get("secrets", []))


def test_each_part_is_given_its_own_password_and_no_other() -> None:
    own = {name: f"stoploss-default-{user}" for name, user in USER_OF.items()} | {"setup": ADMIN}
    for name, user in own.items():
        assert secrets_of(name) == {CA_FILE, f"{user}{PASSWORD_SUFFIX}"}
    assert {name for name in SECURE if secrets_of(name)} == {*own, "kafka"}


def test_each_part_of_ours_gets_in_as_its_user_over_tls() -> None:
    """Where compose mounts a secret: /run/secrets and its name."""
    for name in OURS.keys() - {"quickstart"}:
        environment = SECURE[name]["environment"]
        user = environment["STOPLOSS_KAFKA_USER"]
        assert user == (ADMIN if name == "setup" else f"stoploss-default-{USER_OF[name]}")
        assert environment["STOPLOSS_KAFKA_PROTOCOL"] == "SASL_SSL"
        assert environment["STOPLOSS_KAFKA_CA_FILE"] == f"/run/secrets/{CA_FILE}"
        assert environment["STOPLOSS_KAFKA_PASSWORD_FILE"] == f"/run/secrets/{user}{PASSWORD_SUFFIX}"


def test_the_secrets_are_what_stoploss_credentials_makes() -> None:
    passwords = {f"{user}{PASSWORD_SUFFIX}" for user in user_names(load())}
    files = {CA_FILE, BROKER_FILE, *passwords}
    assert secrets_of("kafka") == files
    declared = FILES["secure"]["secrets"]
    assert declared == {name: {"file": f"./deploy/secure/credentials/{name}"} for name in files}
    assert set(USER_OF.values()) <= set(GRANTS)


def test_the_secure_broker_is_told_what_its_script_asks_for_and_nothing_else() -> None:
    script = (compose.SECURE.parent / "start.sh").read_text()
    asked = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", script)) - {"PATH"}
    kafka = SECURE["kafka"]
    assert set(kafka["environment"]) == asked
    assert kafka["environment"]["CONFIGURATION"] in kafka["tmpfs"]
    assert kafka["healthcheck"]["test"][-1] == f"{kafka['environment']['CONFIGURATION']}/client.properties"
    assert "INTERNAL://kafka:19092" in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def test_the_setup_makes_the_acls_before_any_part_begins() -> None:
    assert "stoploss topics; stoploss topics --acls" in SECURE["setup"]["command"][0]
    waiting = OURS.keys() - {"setup", "quickstart"}
    assert all(SECURE[name]["depends_on"]["setup"] for name in waiting)


def test_the_collector_reads_its_password_from_a_file() -> None:
    read = yaml.safe_load((ROOT / "deploy" / "collector" / "secure.yaml").read_text())["exporters"]["kafka"]
    environment = SECURE["collector"]["environment"]
    assert read["auth"]["sasl"]["password"] == "${file:${env:KAFKA_PASSWORD_FILE}}"
    assert {"KAFKA_USER", "KAFKA_PASSWORD_FILE", "KAFKA_CA_FILE"} <= set(environment)
    assert environment["KAFKA_PASSWORD_FILE"].removeprefix("/run/secrets/") in secrets_of("collector")


def test_data_of_the_plain_and_of_the_secure_one_are_kept_apart() -> None:
    """The users are made with the broker's storage: one that was made without them would let nobody in."""
    assert FILES["plain"]["name"] != FILES["secure"]["name"]
    environments = [file["services"]["kafka"]["environment"] for file in FILES.values()]
    assert len({environment["CLUSTER_ID"] for environment in environments}) == 2


# ---- users of ClickHouse, alerts, the image --------------------------------------------------------


def test_no_password_is_written_down_and_the_example_names_them_all() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    assert asked == set(re.findall(r"\$\{(\w+)", text))
    example = (ROOT / ".env.example").read_text()
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
    queries = [sql for page in PAGES for sql in (*page.annotations.values(), *(panel.sql for panel in page.panels))]
    sql = " ".join((*queries, *(rule.sql for rule in alerting.RULES)))
    views = set(re.findall(r"(?:FROM|JOIN)\s+(\w+_v)\b", sql))
    in_the_owners_name = set(re.findall(r"VIEW (\w+) DEFINER", schema.TABLES.read_text() + schema.SETS.read_text()))
    under = {re.sub(r"(_copies)?_v$", "", view) for view in views - in_the_owners_name}
    assert readable == views | under
    (columns,) = re.findall(r"SELECT\((.*)\) ON stoploss\.dead_letters$", "\n".join(granted), re.MULTILINE)
    hidden = {"key", "value"}
    assert columns.split(", ") == [name for name in schema.tables()["dead_letters"].names if name not in hidden]


def test_grafana_is_given_each_variable_that_its_data_source_reads_and_the_document_lists_them() -> None:
    """It knows no default: one that is missing would be an empty port."""
    source = (ROOT / "grafana" / "provisioning" / "datasources" / "clickhouse.yaml").read_text()
    read = set(re.findall(r"\$(\w+)", source))
    assert not re.search(r"\$\{", source)
    environment = SERVICES["grafana"]["environment"]
    assert read == {name for name in environment if name.startswith("CLICKHOUSE_")}
    assert read == set(re.findall(r"^\| `(CLICKHOUSE_\w+)`", (ROOT / "docs" / "grafana.md").read_text(), re.MULTILINE))
    assert environment["CLICKHOUSE_SECURE"] == "false"
    listening = OURS["judge"]["environment"]["STOPLOSS_CLICKHOUSE_URL"]
    assert listening.endswith(f"@{environment['CLICKHOUSE_HOST']}:{environment['CLICKHOUSE_PORT']}")


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

"""docker-compose.yml, alone and secure: every port that is named anywhere is one that the part listens on."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from stoploss.settings import Settings
from tests import compose

ROOT = Path(__file__).parents[1]
FILES = {"plain": compose.plain(), "secure": compose.secure()}
PROMETHEUS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
DATASOURCES = yaml.safe_load(next((ROOT / "grafana" / "provisioning" / "datasources").glob("*")).read_text())
IMAGES = {
    "apicurio/apicurio-registry": {8080},
    "clickhouse/clickhouse-server": {8123, 9000},
    "ghcr.io/open-feature/flagd": {8013},
    "grafana/grafana": {3000},
    "prom/alertmanager": {9093},
    "prom/prometheus": {9090},
}
"""Ports of programs that nothing here configures: what their own documents say of the image as it comes."""
ADDRESS = re.compile(r"(?<![\w.$-])(\d+\.\d+\.\d+\.\d+|[a-z][a-z0-9-]*):(\d{2,5})\b")
LOOPBACK = "127.0.0.1"
both = pytest.mark.parametrize("which", FILES)
File = dict[str, Any]


class Listener(NamedTuple):
    """host  "" or 0.0.0.0: other containers reach it"""

    host: str
    port: int


# ---- what a part listens on ------------------------------------------------------------------------


def listeners(service: dict[str, Any]) -> set[Listener]:
    """Read from where each is told."""
    image = service["image"].rpartition(":")[0]
    if image in IMAGES:
        return {Listener("", port) for port in IMAGES[image]}
    if image == "apache/kafka":
        return set(kafka(service["environment"]["KAFKA_LISTENERS"]).values())
    if image.startswith("otel/"):
        return set(collector(service["environment"]))
    assert image == "stoploss", f"where does {image} listen?"
    return set(ours(service))


def kafka(text: str) -> dict[str, Listener]:
    """By the listener's name.

    >>> kafka("INTERNAL://:19092,CONTROLLER://127.0.0.1:9093")["CONTROLLER"]
    Listener(host='127.0.0.1', port=9093)
    """
    parts = (re.fullmatch(r"(\w+)://([\w.-]*):(\d+)", part) for part in text.split(","))
    found = [part for part in parts if part is not None]
    assert len(found) == text.count("://"), text
    return {part[1]: Listener(part[2], int(part[3])) for part in found}


def collector(environment: dict[str, str]) -> Iterator[Listener]:
    """Its receivers' endpoints, with the variables as the container has them."""
    config = yaml.safe_load((ROOT / "deploy" / "collector" / "config.yaml").read_text())
    for receiver in config["receivers"]["otlp"]["protocols"].values():
        filled = re.sub(
            r"\$\{env:(\w+):-([^}]*)\}", lambda name: environment.get(name[1], name[2]), receiver["endpoint"]
        )
        host, _, port = filled.rpartition(":")
        yield Listener(host, int(port))


def ours(service: dict[str, Any]) -> Iterator[Listener]:
    """The probes of workers and controllers, the flags that one serves, and the console."""
    verb, *options = service["command"]
    told = dict(pairwise(options))
    environment = service["environment"]
    if verb in ("worker", "controller"):
        yield Listener(environment["STOPLOSS_HEALTH_HOST"], int(environment["STOPLOSS_HEALTH_PORT"]))
    if "--serve" in told:
        host, _, port = told["--serve"].rpartition(":")
        yield Listener(host, int(port))
    if verb == "console":
        yield Listener(told["--host"], int(told.get("--port", Settings.model_fields["console_port"].default)))


# ---- where a port is named -------------------------------------------------------------------------


def published(file: File) -> dict[int, tuple[str, int]]:
    """Port of this machine -> service and port in its container."""
    found: dict[int, tuple[str, int]] = {}
    for name, service in file["services"].items():
        for text in service.get("ports", []):
            host, outside, inside = text.split(":")
            assert host == LOOPBACK
            assert int(outside) not in found, f"{outside} is published twice"
            found[int(outside)] = (name, int(inside))
    return found


def strings(value: Any) -> Iterator[str]:
    """All text below a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def addresses(*where: Any) -> Iterator[tuple[str, int]]:
    for text in strings(list(where)):
        yield from ((host, int(port)) for host, port in ADDRESS.findall(text))


def faults(file: File, prometheus: Any = PROMETHEUS) -> list[str]:
    """A line for each port that nobody listens on there."""
    services = file["services"]
    found = [
        f"{outside} is published for {name}:{inside}"
        for outside, (name, inside) in published(file).items()
        if not _reached(services, name, inside)
    ]
    for name, service in services.items():
        said = {key: value for key, value in service.get("environment", {}).items() if key != "KAFKA_LISTENERS"}
        for host, port in addresses(said, service.get("command"), service.get("entrypoint")):
            if not (_reached(services, host, port) or (host == LOOPBACK and _here(file, name, port))):
                found.append(f"{name} is told {host}:{port}")
        for host, port in addresses(service.get("healthcheck")):
            if not (_own(service, port) if host in (LOOPBACK, name) else _reached(services, host, port)):
                found.append(f"{name} is asked at {host}:{port}")
    told = [prometheus["scrape_configs"], prometheus["alerting"]]
    found += [f"prometheus asks {host}:{port}" for host, port in addresses(told) if not _reached(services, host, port)]
    return found


def _reached(services: dict[str, Any], name: str, port: int) -> bool:
    """By other containers."""
    return name in services and any(one.port == port for one in listeners(services[name]) if one.host != LOOPBACK)


def _own(service: dict[str, Any], port: int) -> bool:
    return any(one.port == port for one in listeners(service))


def _here(file: File, name: str, port: int) -> bool:
    """On loopback: of the container itself, or told to programs of this machine."""
    return _own(file["services"][name], port) or port in published(file)


@both
def test_every_port_that_is_named_is_one_that_the_part_listens_on(which: str) -> None:
    assert faults(FILES[which]) == []


@both
def test_every_part_that_has_a_port_was_looked_at(which: str) -> None:
    services = FILES[which]["services"]
    silent = {name for name, service in services.items() if not listeners(service)}
    assert silent == {"setup", "retention", "quickstart"}
    assert not [name for name in silent if "ports" in services[name] or "healthcheck" in services[name]]
    asked = list(addresses(*(service.get("healthcheck") for service in services.values())))
    assert len(asked) == len([service for service in services.values() if "healthcheck" in service])


@both
def test_the_broker_tells_clients_where_it_listens(which: str) -> None:
    """A client goes where it is sent: in the network of containers by name, from this machine by what is published."""
    environment = FILES[which]["services"]["kafka"]["environment"]
    listens, told = (kafka(environment[f"KAFKA_{what}LISTENERS"]) for what in ("", "ADVERTISED_"))
    assert told["INTERNAL"] == Listener("kafka", listens["INTERNAL"].port)
    assert told["HOST"].host == LOOPBACK
    assert published(FILES[which])[told["HOST"].port] == ("kafka", listens["HOST"].port)


def test_grafana_asks_clickhouse_where_it_listens() -> None:
    [source] = DATASOURCES["datasources"]
    services = FILES["plain"]["services"]
    environment = services["grafana"]["environment"]
    assert (source["jsonData"]["host"], source["jsonData"]["port"]) == ("$CLICKHOUSE_HOST", "$CLICKHOUSE_PORT")
    assert _reached(services, environment["CLICKHOUSE_HOST"], int(environment["CLICKHOUSE_PORT"]))


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("grafana.ports", ["127.0.0.1:3000:3001"], "3000 is published for grafana:3001"),
        ("judge.environment.STOPLOSS_KAFKA", "kafka:19093", "judge is told kafka:19093"),
        ("judge.environment.STOPLOSS_ALERTMANAGER_URL", "http://alerts:9093", "judge is told alerts:9093"),
        ("judge.environment.STOPLOSS_HEALTH_PORT", "9465", "judge is asked at 127.0.0.1:9464"),
        ("judge.environment.STOPLOSS_HEALTH_HOST", "127.0.0.1", "prometheus asks judge:9464"),
        ("collector.environment.LISTEN", "127.0.0.1", "4317 is published for collector:4317"),
        (
            "clickhouse.healthcheck.test",
            ["CMD", "wget", "http://127.0.0.1:8124/ping"],
            "clickhouse is asked at 127.0.0.1:8124",
        ),
    ],
)
def test_a_wrong_port_would_be_found(path: str, value: object, fault: str) -> None:
    file = copy.deepcopy(FILES["plain"])
    *parents, name = path.split(".")
    node = file["services"]
    for parent in parents:
        node = node[parent]
    node[name] = value
    assert fault in faults(file)

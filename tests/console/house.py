"""A console on registrar and judge alone, with people who have keys and roles: no ClickHouse is needed to decide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stoploss.cli import asking
from stoploss.console.asking import signing_as
from stoploss.console.parts import Console
from stoploss.control.keys import create_person_keys
from stoploss.signing import load_public_key, raw_text
from tests.console.world import Served, served
from tests.installation import Kafka, installed


@dataclass(frozen=True, slots=True)
class House(Served):
    def ask(self, person: str, action: str, experiment: str, spec: str | None = None, body: str | None = None) -> None:
        request = asking.request_of(action, experiment, "asked by a test", spec=spec, body=body)
        asking.send(signing_as(person, self.settings), request)


@contextmanager
def housed(kafka: Kafka, home: Path, names: tuple[str, ...], team: str) -> Iterator[House]:
    """team: the roles of search-team, as YAML. carol is a steward."""
    keys = {name: create_person_keys(home / "keys" / "people", name) for name in (*names, "carol")}
    people = ", ".join(f"{name}: {raw_text(load_public_key(pair.public))}" for name, pair in keys.items())
    head = "{apiVersion: stoploss/v1alpha1, kind: Roles"
    teams = f"teams: {{search-team: {{{team}}}}}"
    (home / "roles.yaml").write_text(f"{head}, people: {{{people}}}, {teams}, stewards: [carol]}}")
    with installed(kafka, home, roles_file=home / "roles.yaml") as installation:
        role = installation.worker("registrar", "judge")
        installation.wait(lambda: role.said.count("restored") == 2, timeout_s=180)  # before anybody asks
        console = Console.of(installation.settings)
        with served(console) as address:
            yield House(installation, console, address)
        installation.stop()

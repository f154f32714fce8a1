"""G5: deploy/clickhouse/team.sql gives a team the dashboards of its own experiments, and no row of another's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clickhouse_connect.driver.client import Client

from grafana.pages import PAGES
from grafana.panel import Page
from stoploss import measures, registry
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.store import inserts
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.client import connect
from stoploss.wire import records
from tests.store import samples
from tests.store.test_dashboard import sent

GRAFANA = Path(__file__).parents[2] / "grafana"
TEAM_SQL = Path(__file__).parents[2] / "deploy" / "clickhouse" / "team.sql"
OTHER = "search-ranking"


def statements() -> list[str]:
    lines = [line for line in TEAM_SQL.read_text().splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


@pytest.fixture(scope="module")
def whole(database: Callable[[str], Client]) -> Client:
    """Both teams' experiments; a trace of the other team's stands between those of the story."""
    client = database("teams")
    for stream, stored in samples.story().items():
        inserts.insert(client, inserts.encode(stream, stored))
    clean = clean_to_bytes(samples.traces_frame(range(20, 26), OTHER))
    for stream, values in {
        "journal": samples.journal_values(OTHER),
        "measures": [measures.encode(samples.measure(1, OTHER))],
        "control": [records.encode("command", samples.command(OTHER))],
        "registry": [registry.encode(samples.registry_entry("running", 1, OTHER))],
        "traces_clean": [clean],
    }.items():
        inserts.insert(client, inserts.encode(stream, samples.stored(stream, values, key=OTHER.encode(), partition=5)))
    return client


@pytest.fixture(scope="module")
def team(whole: Client, clickhouse: EmbeddedClickHouse) -> Iterator[Client]:
    """The embedded engine has no users, so what is about a role is left to test_clickhouse_users."""
    for statement in statements():
        if not statement.startswith(("CREATE ROLE", "GRANT")):
            whole.command(statement.replace("stoploss.", "teams."))
    client = connect(clickhouse.url, database="team_checkout")
    yield client
    client.close()


def rows(client: Client, page: Page) -> list[tuple[Any, ...]]:
    return [tuple(row) for panel in page.panels for row in client.query(sent(panel.sql)).result_rows]


def test_the_other_teams_rows_are_there_to_be_found(whole: Client) -> None:
    assert OTHER in str(rows(whole, PAGES[0]))
    assert OTHER in str(whole.query("SELECT assignments FROM traces_shown_v").result_rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_team_sees_its_own_experiments_and_nobody_elses(team: Client, page: Page) -> None:
    """G5"""
    assert OTHER not in str(rows(team, page))


def test_a_team_has_each_view_that_a_panel_reads_with_its_columns(whole: Client, team: Client) -> None:
    """G5"""
    views = [row[0] for row in team.query("SHOW TABLES").result_rows]
    for view in views:
        columns = [client.query(f"DESCRIBE TABLE {view}").result_rows for client in (whole, team)]
        assert [row[:2] for row in columns[0]] == [row[:2] for row in columns[1]], view
    assert {"registry_v", "journal_shown_v", "traces_shown_v", "dead_letters_v"} < set(views)
    assert OTHER not in str(team.query("SELECT assignments FROM traces_shown_v").result_rows)


def test_the_role_of_a_team_may_read_its_own_views_alone() -> None:
    """G5"""
    assert [s for s in statements() if s.startswith("GRANT")] == ["GRANT SELECT ON team_checkout.* TO team_checkout"]


# ---- in Grafana ------------------------------------------------------------------------------------

ITS_OWN = {"orgId", "jsonData.username", "jsonData.defaultDatabase", "secureJsonData.password"}


def provisioned(folder: str, what: str) -> dict[str, Any]:
    """The one data source or provider of a file, with the names of nested settings joined."""
    (path,) = (GRAFANA / folder).iterdir()
    (found,) = yaml.safe_load(path.read_text())[what]
    nested = {f"{key}.{name}": x for key, of in found.items() if isinstance(of, dict) for name, x in of.items()}
    return {key: value for key, value in found.items() if not isinstance(value, dict)} | nested


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_a_teams_data_source_is_everybodys_but_for_its_user_and_its_database() -> None:
    """G5: the names are those that team.sql makes; what the dashboards ask for stays."""
    source = provisioned("team/datasources", "datasources")
    assert differing(source, provisioned("provisioning/datasources", "datasources")) == ITS_OWN
    (user, role) = re.findall(r"^-- +CREATE USER (\w+) .* DEFAULT ROLE (\w+);$", TEAM_SQL.read_text(), re.MULTILINE)[0]
    assert source["jsonData.username"] == user
    assert f"CREATE DATABASE IF NOT EXISTS {source['jsonData.defaultDatabase']}" in statements()
    assert f"GRANT SELECT ON {source['jsonData.defaultDatabase']}.* TO {role}" in statements()
    assert source["secureJsonData.password"].startswith("$")


def test_a_teams_dashboards_are_everybodys_in_a_folder_of_its_own_beside_its_data_source() -> None:
    """G5"""
    provider = provisioned("team/dashboards", "providers")
    assert differing(provider, provisioned("provisioning/dashboards", "providers")) == {"name", "orgId", "folder"}
    assert provider["orgId"] == provisioned("team/datasources", "datasources")["orgId"] != 1
    assert f"startsWith(experiment, '{provider['folder']}-')" in TEAM_SQL.read_text()

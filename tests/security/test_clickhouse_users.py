"""users.sql: the engine reads it, it names what there is, and nobody who runs all the time may change or delete."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.erasure import stored
from stoploss.settings import load
from stoploss.store import schema, ttl
from stoploss.store.client import connect
from stoploss.store.positions import POSITION_TABLE

ROOT = Path(__file__).parents[2]
USERS_SQL = Path(schema.__file__).with_name("users.sql")
USERS_XML = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "users.xml")
GRANT = re.compile(r"GRANT (?P<rights>.+) ON stoploss\.(?P<table>\w+|\*) TO (?P<role>\w+)", re.DOTALL)


def statements() -> list[str]:
    lines = [line for line in USERS_SQL.read_text().splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


def grants(role: str) -> list[tuple[str, str]]:
    """(rights, table) of a role."""
    found = [match for statement in statements() if (match := GRANT.fullmatch(statement))]
    return [(match["rights"], match["table"]) for match in found if match["role"] == role]


ERASER, KEEPER = "stoploss_eraser", "stoploss_keeper"
ROLES = (
    "stoploss_owner",
    "stoploss_recorder",
    "stoploss_resolver",
    "stoploss_person",
    "stoploss_texts",
    KEEPER,
    ERASER,
    "stoploss_grafana",
)


def test_the_engine_can_read_every_statement(clickhouse: EmbeddedClickHouse) -> None:
    """It runs none of them: an embedded engine has no users. A wrong one it refuses, as this shows."""
    client = connect(clickhouse.url, database="default")
    for statement in statements():
        assert client.query("SELECT formatQuery({q:String})", parameters={"q": statement}).result_rows
    with pytest.raises(Exception, match="Syntax error"):
        client.query("SELECT formatQuery('GRANT SELECT(a) ON stoploss.* TO x')")
    client.close()


def test_every_grant_is_of_a_role_that_is_made_and_of_a_table_or_view_that_there_is() -> None:
    made = [statement for statement in statements() if statement.startswith("CREATE ROLE")]
    assert [statement.split()[5] for statement in made] == list(ROLES)
    of = re.compile(r"CREATE (?:OR REPLACE VIEW|TABLE IF NOT EXISTS) (\w+)")
    made_by_schema = {match[1] for text in schema.statements() if (match := of.match(text))}
    named = {table for role in ROLES for _, table in grants(role)}
    assert named <= {"*"} | made_by_schema
    assert sum(len(grants(role)) for role in ROLES) == sum(s.startswith("GRANT") for s in statements())


def test_every_role_that_the_documents_name_is_made() -> None:
    texts = [path.read_text() for path in (*(ROOT / "docs").glob("*.md"), ROOT / "SECURITY.md")]
    named = {name for text in texts for name in re.findall(r"(?:role|roles|user|users) `(stoploss_\w+)`", text)}
    assert {"stoploss_eraser", KEEPER} <= named <= set(ROLES)


def test_nobody_may_change_or_delete_a_row_or_grant_anything() -> None:
    """But who erases one person's data, and that in the tables alone that hold some."""
    assert {table for rights, table in grants(ERASER)} == set(stored.HOLDS)
    assert {rights for rights, _ in grants(ERASER)} == {"SELECT, ALTER DELETE"}
    text = " ".join(one for one in statements() if not one.endswith(f"TO {ERASER}")).upper()
    for word in ("ALTER UPDATE", "DELETE", "TRUNCATE", "DROP TABLE", "GRANT OPTION", "GRANT ALL"):
        assert word not in text
    assert set(re.findall(r"ALTER(?: (?!ON\b)[A-Z]+)+", text)) == {
        "ALTER ADD COLUMN",
        "ALTER MODIFY COLUMN",
        "ALTER TTL",
    }


def test_who_keeps_to_retention_says_how_long_and_reads_nothing() -> None:
    """P3: of the tables alone whose rows go by the specs."""
    assert set(grants(KEEPER)) == {("ALTER TTL", table) for table in (*ttl.OF_EXPERIMENTS, "dead_letters")}


def test_the_recorder_inserts_and_reads_positions_alone() -> None:
    positions = {("SELECT(topic, topic_uuid, partition, offset)", table) for table in POSITION_TABLE.values()}
    assert set(grants("stoploss_recorder")) == {("INSERT", "*")} | positions


def test_grafana_reads_and_nothing_else_within_the_limits_and_grants_of_the_container() -> None:
    assert all(rights.startswith("SELECT") for rights, _ in grants("stoploss_grafana"))
    queries = [str(query.text) for query in USERS_XML.findall("users/grafana/grants/query")]
    assert [f"GRANT {rights} ON stoploss.{table}" for rights, table in grants("stoploss_grafana")] == queries
    [profile] = [s for s in statements() if "PROFILE IF NOT EXISTS stoploss_dashboards" in s]
    for name, path in (("max", "constraints"), ("", "")):
        for limit in ("max_execution_time", "max_memory_usage", "max_result_rows"):
            where = f"profiles/stoploss_reader/{path}/{limit}/{name}" if path else f"profiles/stoploss_reader/{limit}"
            value = str(USERS_XML.find(where).text)  # type: ignore[union-attr]
            assert re.search(rf"{limit} = (\d+ MAX )?{value}\b", profile)
    assert "readonly = 2" in profile


def test_grafana_cannot_read_the_bytes_of_dead_letters() -> None:
    [(rights, _)] = [grant for grant in grants("stoploss_grafana") if grant[1] == "dead_letters"]
    columns = {name.strip() for name in rights.removeprefix("SELECT(").removesuffix(")").split(",")}
    assert columns == set(schema.tables()["dead_letters"].names) - {"key", "value"}


@pytest.mark.parametrize("role", ["stoploss_person", "stoploss_grafana"])
def test_texts_and_ids_have_a_grant_of_their_own(role: str) -> None:
    """P1: who reads numbers and decisions reads no texts."""
    of_texts = {name for table in ("traces", "shadow_traces", "outcomes") for name in (table, f"{table}_v")}
    assert not of_texts & {table for _, table in grants(role)}
    assert "*" not in {table for _, table in grants(role)}
    assert {table for _, table in grants("stoploss_texts")} == of_texts | {"dead_letters"}


def test_a_recorder_that_may_only_insert_is_told_not_to_make_tables() -> None:
    assert load().clickhouse_migrate
    assert not load(clickhouse_migrate=False).clickhouse_migrate

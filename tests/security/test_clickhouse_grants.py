"""P1, P3: users.sql, tried: the engine holds to each role's grants, and what stoploss asks for goes through."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.erasure import stored
from stoploss.retention import Kept
from stoploss.store import inserts, positions, queries, schema, ttl
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.client import connect
from stoploss.store.review_reads import is_denied
from stoploss.store.trace_contexts import contexts_of
from tests.review import stories
from tests.security.test_clickhouse_users import ERASER, KEEPER, ROLES, grants
from tests.store import samples
from tests.store.test_dashboard import PANELS, sent

FRONT = Path(__file__).with_name("front_as_role.py")
DATABASE, MAKER = "stoploss", "maker"
ALL = "GRANT ALL ON *.* WITH GRANT OPTION"
OWNER, RECORDER, RESOLVER = "stoploss_owner", "stoploss_recorder", "stoploss_resolver"
PERSON, TEXTS, GRAFANA = "stoploss_person", "stoploss_texts", "stoploss_grafana"
USERS = """<clickhouse>
  <profiles><default/></profiles><quotas><default/></quotas>
  <users>
    <default>
      <password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
      <grants>{grants}</grants>
    </default>
    <maker><no_password/><profile>default</profile><grants><query>GRANT ALL ON *.*</query></grants></maker>
  </users>
</clickhouse>
"""
MADE = re.compile(r"CREATE (?:TABLE IF NOT EXISTS|OR REPLACE VIEW) (\w+)")
CHANGES = (
    "INSERT INTO journal (experiment) VALUES ('x')",
    "ALTER TABLE journal DELETE WHERE 1",
    "ALTER TABLE traces DELETE WHERE unit_id = 'nobody'",
    "ALTER TABLE journal UPDATE rule = 'x' WHERE 1",
    "ALTER TABLE journal MODIFY TTL toDateTime(at) + INTERVAL 1 DAY",
    "TRUNCATE TABLE journal",
    "DROP TABLE journal",
    "DROP VIEW journal_v",
    "RENAME TABLE journal TO journey",
    "GRANT SELECT ON stoploss.* TO maker",
    "CREATE USER mallory",
)
"""What nobody may do but who is named in the test."""


class AsRole(EmbeddedClickHouse):
    """The same engine, whose user has these grants and no others."""

    def __init__(self, directory: Path, statements: list[str]) -> None:
        super().__init__(directory)
        self.statements = statements

    def _prepare(self, lock_descriptor: int) -> list[str]:
        queries_of = "".join(f"<query>{escape(statement)}</query>" for statement in self.statements)
        (self.directory / "users.xml").write_text(USERS.format(grants=queries_of))
        config = self.directory / "config.xml"
        config.write_text(f"<clickhouse><users_config>{self.directory / 'users.xml'}</users_config></clickhouse>")
        return [sys.executable, str(FRONT), str(self.directory), str(self.port), str(config)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables and views as an owner makes them, who is somebody else than the user of each test; and a story."""
    directory = tmp_path_factory.mktemp("grants")
    with AsRole(directory, [ALL]) as engine, closing(connect(engine.url, database=DATABASE)) as client:
        client.command(f"CREATE DATABASE {DATABASE}", use_database=False)
        for statement in schema.statements():
            client.command(statement.replace("DEFINER = CURRENT_USER", f"DEFINER = {MAKER}"))
        for stream, found in stories.streams_of(stories.leaked()).items():
            inserts.insert(client, inserts.encode(stream, found))
    return directory


@contextmanager
def as_role(store: Path, role: str) -> Iterator[Client]:
    statements = [f"GRANT {rights} ON {DATABASE}.{table}" for rights, table in grants(role)]
    with AsRole(store, statements) as engine, closing(connect(engine.url, database=DATABASE)) as client:
        yield client


def refused(ask: Callable[[], object]) -> bool:
    """For lack of a grant; anything else that goes wrong fails the test."""
    try:
        ask()
    except ClickHouseError as error:
        if not is_denied(error):
            raise
        return True
    return False


def may_read(client: Client, names: list[str]) -> set[str]:
    return {name for name in names if not refused(lambda name=name: client.query(f"SELECT * FROM {name} LIMIT 0"))}


def may_do(client: Client) -> set[str]:
    return {change for change in CHANGES if not refused(lambda change=change: client.command(change))}


def whole(role: str, names: list[str]) -> set[str]:
    """Tables and views that a role may read with all columns."""
    rights = {table for right, table in grants(role) if "SELECT" in right.split(", ")}
    return set(names) if "*" in rights else rights


@pytest.fixture(scope="module")
def names() -> list[str]:
    """Of all tables and views that are read."""
    made = (MADE.match(statement) for statement in schema.statements())
    return [match[1] for match in made if match]


def test_the_owner_makes_all_tables_and_views_and_cannot_delete_a_row(names: list[str], tmp_path: Path) -> None:
    with as_role(tmp_path, OWNER) as client:
        for _ in range(2):
            schema.migrate(client)
        assert may_read(client, names) == set(names)
        assert may_do(client) == {
            "ALTER TABLE journal MODIFY TTL toDateTime(at) + INTERVAL 1 DAY",
            "DROP VIEW journal_v",
        }


def test_the_recorder_stores_and_finds_its_place_and_reads_no_row(store: Path, names: list[str]) -> None:
    """What is made of traces as they come in is made in the name of who made the views."""
    with as_role(store, RECORDER) as client:
        assert may_read(client, names) == set()
        for stream, found in stories.streams_of(stories.leaked()).items():
            inserts.insert(client, inserts.encode(stream, found))
        clean = samples.stored("traces_clean", [clean_to_bytes(samples.traces_frame(range(3)))])
        inserts.insert(client, inserts.encode("traces_clean", clean))
        for stream in positions.POSITION_TABLE:
            positions.highest_offsets(client, stream)
        assert may_do(client) == {"INSERT INTO journal (experiment) VALUES ('x')"}


def test_the_resolver_reads_what_an_outcome_must_carry_and_no_text(store: Path, names: list[str]) -> None:
    """P1"""
    with as_role(store, RESOLVER) as client:
        assert contexts_of(client, ["of-nobody"]) == {}
        assert may_read(client, names) == set()
        assert refused(lambda: client.query("SELECT output_text FROM traces LIMIT 0"))
        assert may_do(client) == set()


def test_people_read_decisions_and_numbers_and_neither_texts_nor_ids(store: Path, names: list[str]) -> None:
    """P1: what `status`, `explain` and the console ask for goes through."""
    with as_role(store, PERSON) as client:
        assert may_read(client, names) == whole(PERSON, names)
        assert not {"traces", "traces_v", "outcomes", "outcomes_v", "dead_letters"} & whole(PERSON, names)
        assert [found.experiment for found in queries.status(client)] == [stories.EXPERIMENT]
        assert queries.timeline(client, stories.EXPERIMENT)
        assert queries.commands(client, stories.EXPERIMENT)
        queries.verdicts_latest(client, stories.EXPERIMENT)
        queries.dead_letters(client)
        assert refused(lambda: client.query("SELECT value FROM dead_letters LIMIT 0"))
        assert may_do(client) == set()


def test_texts_are_read_by_who_has_the_grant_for_them_and_nothing_else_is(store: Path, names: list[str]) -> None:
    """P1"""
    with as_role(store, TEXTS) as client:
        assert may_read(client, names) == whole(TEXTS, names)
        assert may_do(client) == set()


def test_every_panel_of_grafana_is_answered_and_no_text_is(store: Path, names: list[str]) -> None:
    """P1: the bytes of dead letters either."""
    with as_role(store, GRAFANA) as client:
        assert may_read(client, names) == whole(GRAFANA, names)
        for _, panel in PANELS:
            client.query(sent(panel.sql))
        assert refused(lambda: client.query("SELECT value FROM dead_letters LIMIT 0"))
        assert may_do(client) == set()


def test_who_keeps_to_retention_says_how_long_and_reads_nothing(store: Path, names: list[str]) -> None:
    """P3"""
    experiments = [Kept(stories.EXPERIMENT, 7 * 86_400, held=False)]
    with as_role(store, KEEPER) as client:
        tables = ttl.differing(client, experiments)
        assert tables == [*ttl.OF_EXPERIMENTS, "dead_letters"]
        ttl.apply(client, experiments, tables)
        assert ttl.differing(client, experiments) == []
        assert may_read(client, names) == set()
        assert may_do(client) == set()


def test_who_erases_a_person_deletes_rows_of_people_alone(store: Path, names: list[str]) -> None:
    """P3: decisions stay."""
    with as_role(store, ERASER) as client:
        assert stored.delete(client, stored.find(client, "nobody"))["traces"] == 0
        assert may_do(client) == {"ALTER TABLE traces DELETE WHERE unit_id = 'nobody'"}
        assert may_read(client, names) == set(stored.HOLDS)


def test_each_role_of_the_file_is_tried() -> None:
    assert set(ROLES) == {OWNER, RECORDER, RESOLVER, PERSON, TEXTS, KEEPER, ERASER, GRAFANA}

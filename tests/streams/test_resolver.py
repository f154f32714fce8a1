"""Bare outcomes on the real Kafka and ClickHouse: before their trace, after it, without it; through outages and kills.

The roles run as processes, the resolver with waits of seconds instead of an hour.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from stoploss import registry
from stoploss.cli import dead_letters
from stoploss.cli.stack import environment
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.evidence import block_columns
from stoploss.ledger import EvidenceBlock, SourceStatus
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from stoploss.wire.traces import decode_values
from streams.resolver import STAGES
from tests.faults.proxy import Proxy, Wire
from tests.installation import (
    Installation,
    Kafka,
    Role,
    appending,
    facts_of,
    installed,
    keys_of,
    letters_of,
    messages,
)
from tests.intake.records import NAME, SPEC, assigned, avro, experiment, outcome, trace

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

HOME = 1
"""Ledger partition of the experiment."""
ROOT = Path(__file__).parents[2]
POINTS = ("looked up", "sent, not committed", "committed")


class QuickResolver(Role):
    """The resolver with short waits; told a point, it is killed there once."""

    def __init__(self, settings: Settings, point: str | None = None) -> None:
        self.arguments = ("resolver", *([point] if point else []))
        self.log = settings.home / f"{' '.join(self.arguments)}.log"
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.streams.resolver_app", *self.arguments[1:]],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                cwd=ROOT,
                env={**os.environ, **environment(settings), "STOPLOSS_OWNED": "1"},
                start_new_session=True,
            )


@dataclass
class World:
    """An installation with one experiment; what lies between the resolver and ClickHouse is its alone.

    missing  an outcome that was sent at the beginning, and of which nobody has a trace
    """

    installation: Installation
    proxy: Proxy
    client: Client
    resolving: Role
    missing: bytes = b""
    sent: int = 0

    @property
    def settings(self) -> Settings:
        return self.installation.settings

    def resolver(self, point: str | None = None) -> Role:
        self.resolving = started(self.installation, self.proxy, point)
        return self.resolving

    def trace(self, trace_id: str, **fields: Any) -> None:
        self._send("traces", avro(trace(trace_id=trace_id, at=now(), unit_id=f"user of {trace_id}", **fields)))

    def outcome(self, trace_id: str, **fields: Any) -> bytes:
        """As its sender knows it: the trace's id, and nothing else of it."""
        said = {"unit_id": None, "assignments": [], "at": now(), **fields}
        value = avro(outcome(trace_id=trace_id, **said), "outcome")
        self._send("outcomes", value)
        return value

    def _send(self, topic: str, value: bytes) -> None:
        self.sent += 1
        appender = appending(self.settings)
        appender.append(self.settings.topics(topic), value, partition=self.sent % 2)
        appender.flush()

    def stored(self, *trace_ids: str) -> None:
        """The recorder has these traces in the store."""
        count = "SELECT uniqExact(trace_id) FROM traces WHERE trace_id IN {ids:Array(String)}"
        self.installation.wait(
            lambda: self.client.query(count, {"ids": list(trace_ids)}).result_rows == [(len(trace_ids),)]
        )

    def given_back(self) -> Counter[tuple[str, bool]]:
        """Committed records of the resolver by trace id, and whether they have their context."""
        values = [message.value() for message in messages(self.settings, "outcomes_resolved")]
        frame = decode_values(values, "outcome").frame
        return Counter(zip(frame["trace_id"].to_list(), (frame["assignments"].list.len() > 0).to_list(), strict=True))

    def await_given_back(self, *trace_ids: str, found: bool = True) -> None:
        self.installation.wait(lambda: all(self.given_back()[trace_id, found] for trace_id in trace_ids))

    @contextmanager
    def no_answers(self) -> Iterator[None]:
        """ClickHouse takes what the resolver asks and does not answer."""
        self.proxy.set(Wire.HELD)
        yield
        self.proxy.set(Wire.OPEN)

    def rows(self, *, outcomes: bool) -> Counter[tuple[int, int, int]]:
        """Evidence: (trace, unit, variant) of each row, as the ledger has them."""
        blocks = [fact for fact in facts_of(self.settings, HOME) if isinstance(fact, EvidenceBlock)]
        columns = [block_columns(block) for block in blocks if block.outcomes is outcomes]
        return Counter(
            row for c in columns for row in zip(c.trace.tolist(), c.unit.tolist(), c.variant.tolist(), strict=True)
        )


def started(installation: Installation, proxy: Proxy, point: str | None = None) -> Role:
    behind = installation.settings.model_copy(update={"clickhouse_url": f"http://127.0.0.1:{proxy.port}"})
    installation.roles.append(QuickResolver(behind, point))
    return installation.roles[-1]


def now() -> int:
    return time.time_ns() // 1_000


@pytest.fixture(scope="module")
def world(kafka: Kafka, clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("resolver")
    with (
        closing(Proxy(clickhouse.port)) as proxy,
        installed(kafka, home, clickhouse_url=clickhouse.url) as installation,
    ):
        registered(installation.settings)
        client = connect(clickhouse.url, database=installation.settings.clickhouse_database)
        migrate(client)
        installation.worker("intake", "joiner", "recorder")
        made = World(installation, proxy, client, started(installation, proxy))
        made.missing = made.outcome("missing")
        yield made


def registered(settings: Settings) -> None:
    found = experiment()
    text = SPEC.replace("UNIT", "user")
    entry = RegistryEntry(
        NAME, HOME, text, found.spec_hash, "running", 1, 1, 1, "current", 0.5, (), None, changed_at=0, offset=0
    )
    appender = appending(settings)
    appender.append(settings.topics("registry"), registry.encode(entry), key=NAME.encode(), partition=HOME)
    appender.flush()


# ---- with the roles as processes -----------------------------------------------------------------


def test_an_outcome_that_comes_after_its_trace_is_evidence_of_the_same_unit_and_variant(world: World) -> None:
    world.trace("before", assignments=[assigned("small")])
    world.stored("before")
    world.outcome("before")
    world.await_given_back("before")
    world.installation.wait(lambda: world.rows(outcomes=True))
    [row] = world.rows(outcomes=True)
    assert row in world.rows(outcomes=False)
    assert row[2] == 1


def test_an_outcome_that_comes_before_its_trace_waits_for_it(world: World) -> None:
    world.outcome("early")
    world.installation.wait(lambda: b"early" in keys_of(world.settings, "outcomes_retry_1m"))
    with world.no_answers():
        world.trace("early")
        world.stored("early")
    world.await_given_back("early")
    assert world.given_back()["early", False] == 0


def test_while_clickhouse_does_not_answer_outcomes_with_their_context_go_on_and_bare_ones_wait(world: World) -> None:
    world.trace("through an outage")
    world.stored("through an outage")
    before = sum(number for (_, found), number in world.given_back().items() if found)
    world.installation.wait(lambda: world.rows(outcomes=True).total() == before)
    with world.no_answers():
        world.outcome("through an outage")
        world.outcome("of its own", assignments=[assigned()])
        world.installation.wait(lambda: world.rows(outcomes=True).total() == before + 1)
        assert world.given_back()["through an outage", True] == 0
    world.await_given_back("through an outage")
    world.installation.wait(lambda: world.rows(outcomes=True).total() == before + 2)


def test_an_outcome_without_a_trace_is_a_dead_letter_that_can_be_sent_again_once_the_trace_is_there(
    world: World,
) -> None:
    world.installation.wait(lambda: letters_of(world.settings))
    [letter] = letters_of(world.settings)
    assert (letter.value, letter.code, letter.stage) == (world.missing, "unresolved", "joiner")
    assert world.given_back()["missing", False] == 1
    assert all(b"missing" in keys_of(world.settings, stage.topic) for stage in STAGES[1:])
    world.trace("missing")
    world.stored("missing")
    dead_letters.retry(world.settings, None, dead_letters.Wanted.of("unresolved", "1h"), ask=False)
    world.await_given_back("missing")


def test_the_share_without_a_trace_is_a_fact_in_the_ledger(world: World) -> None:
    """Of the outcomes that have come back by now."""
    back = world.given_back()
    found = sum(number for (_, has_context), number in back.items() if has_context)
    world.installation.wait(lambda: told_of(world.settings) == (found, back.total() - found))


@pytest.mark.slow
def test_a_resolver_that_is_killed_at_any_point_loses_nothing_and_gives_nothing_back_twice(world: World) -> None:
    """A killed member holds its partitions for the ten seconds of its session."""
    world.resolving.stop()
    traced = [f"killed {number}" for number in range(40)]
    for trace_id in traced:
        world.trace(trace_id)
    world.stored(*traced)
    for trace_id in traced:
        world.outcome(trace_id)
        world.outcome(f"{trace_id}, no trace")
    for point in POINTS:
        dying = world.resolver(point)
        world.installation.wait(lambda dying=dying: not dying.running)
        assert dying.exit_code() == -signal.SIGKILL
    world.resolver()
    untraced = [f"{trace_id}, no trace" for trace_id in traced]
    world.await_given_back(*traced)
    world.await_given_back(*untraced, found=False)
    back = {key: number for key, number in world.given_back().items() if key[0].startswith("killed")}
    assert back == dict.fromkeys([*((t, True) for t in traced), *((u, False) for u in untraced)], 1)


def told_of(settings: Settings) -> tuple[int, int]:
    """Outcomes that came back with their trace and without, as the joiner's last statuses have it."""
    name = settings.topics("outcomes_resolved")
    statuses = {
        fact.source.partition: (fact.valid, fact.rejected)
        for fact in facts_of(settings, HOME)
        if isinstance(fact, SourceStatus) and fact.source.topic == name
    }
    return sum(valid for valid, _ in statuses.values()), sum(rejected for _, rejected in statuses.values())

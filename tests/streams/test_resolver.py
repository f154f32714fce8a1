"""Bare outcomes on the real Kafka and ClickHouse: before their trace, after it, without it; through outages and kills.

The roles run as processes, the resolver with waits of seconds instead of an hour.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from faust.types import TP

from stoploss import registry
from stoploss.cli import dead_letters
from stoploss.cli.stack import environment
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.errors import ConfigurationError, DeliveryFailed, Fenced
from stoploss.evidence import block_columns
from stoploss.ledger import EvidenceBlock, SourceStatus
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.store import inserts
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from stoploss.store.stored import Stored
from stoploss.wire.traces import decode_values
from streams import resolver
from streams.batches import Batch, Record
from streams.looking_up import LookedUp, Waypoint
from streams.resolver import STAGES, Resolver
from tests.faults.proxy import Proxy, Wire
from tests.installation import (
    Installation,
    Kafka,
    Role,
    appending,
    consumed,
    create_topics,
    facts_of,
    installed,
    letters_of,
    messages,
    settings_of,
)
from tests.intake.records import AT, NAME, SPEC, assigned, avro, experiment, outcome, take_in, trace

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
    world.installation.wait(lambda: b"early" in keys(world.settings, "outcomes_retry_1m"))
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
    assert all(b"missing" in keys(world.settings, stage.topic) for stage in STAGES[1:])
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


def keys(settings: Settings, topic: str) -> set[bytes]:
    return {bytes(message.key() or b"") for message in messages(settings, topic)}


def told_of(settings: Settings) -> tuple[int, int]:
    """Outcomes that came back with their trace and without, as the joiner's last statuses have it."""
    name = settings.topics("outcomes_resolved")
    statuses = {
        fact.source.partition: (fact.valid, fact.rejected)
        for fact in facts_of(settings, HOME)
        if isinstance(fact, SourceStatus) and fact.source.topic == name
    }
    return sum(valid for valid, _ in statuses.values()), sum(rejected for _, rejected in statuses.values())


# ---- one partition, without a process ------------------------------------------------------------


@dataclass
class Place:
    """One partition of outcomes, for one resolver after the other."""

    settings: Settings
    client: Client

    def waypoint(self) -> Waypoint:
        """Whoever had the partition before is fenced."""
        return Waypoint(self.settings, self.tp, (self.settings.topics("outcomes_retry_1m"), 60.0))

    @property
    def tp(self) -> TP:
        return TP(self.settings.topics("outcomes"), 0)

    def rest(self, waypoint: Waypoint) -> list[Record]:
        """What is not done yet, to one who has just taken over."""
        begun = waypoint.open() or 0
        return [record for record in consumed(self.settings, "outcomes", 0) if record.offset >= begun]

    def given_back(self) -> list[str]:
        values = [message.value() for message in messages(self.settings, "outcomes_resolved")]
        return [str(trace_id) for trace_id in decode_values(values, "outcome").frame["trace_id"]]

    def sent(self, *trace_ids: str) -> None:
        appender = appending(self.settings)
        for trace_id in trace_ids:
            bare = outcome(trace_id=trace_id, at=now(), assignments=[])
            appender.append(self.settings.topics("outcomes"), avro(bare, "outcome"), partition=0)
        appender.flush()


@pytest.fixture
def place(kafka: Kafka, clickhouse: EmbeddedClickHouse, tmp_path: Path) -> Iterator[Place]:
    """Of the two outcomes there the first has a stored trace."""
    settings = settings_of(kafka, tmp_path, clickhouse_url=clickhouse.url)
    create_topics(settings, "outcomes", "outcomes_resolved", "outcomes_retry_1m")
    client = connect(clickhouse.url, database=settings.clickhouse_database)
    migrate(client)
    value = clean_to_bytes(take_in(trace(trace_id="stored")).clean, "traces")
    record = Stored(settings.topics("traces_clean"), "uuid", 0, 0, AT // 1_000, None, value, ())
    inserts.insert(client, inserts.encode("traces_clean", [record]))
    made = Place(settings, client)
    made.sent("stored", "nowhere")
    yield made
    client.close()


def looked_up_only(waypoint: Waypoint, found: LookedUp) -> None:
    """It was killed before it sent anything."""


def sent_but_not_committed(waypoint: Waypoint, found: LookedUp) -> None:
    """It was killed with an open transaction, all of which is on the broker, its place too."""
    transactor = waypoint._transactor
    transactor._done = found.done
    transactor._producer.begin_transaction()
    for _, outgoing in found.fates:
        transactor._produce(outgoing)
    transactor._send_place()
    transactor._producer.flush()


def committed(waypoint: Waypoint, found: LookedUp) -> None:
    """It was killed before its group heard that it is done."""
    waypoint.publish(found)


@pytest.mark.parametrize("killed_when", [looked_up_only, sent_but_not_committed, committed])
def test_whatever_was_done_when_it_was_killed_each_outcome_goes_one_way_once(
    place: Place, killed_when: Callable[[Waypoint, LookedUp], None]
) -> None:
    killed, successor = place.waypoint(), place.waypoint()
    killed_when(killed, killed.look_up(place.rest(killed)))
    rest = place.rest(successor)
    if rest:
        successor.publish(successor.look_up(rest))
    assert (place.given_back(), keys(place.settings, "outcomes_retry_1m")) == (["stored"], {b"nowhere"})
    assert len(messages(place.settings, "outcomes_retry_1m")) == 1


def test_a_resolver_that_was_frozen_and_comes_back_gives_nothing_back(place: Place) -> None:
    frozen, successor = place.waypoint(), place.waypoint()
    found = frozen.look_up(place.rest(frozen))
    successor.publish(successor.look_up(place.rest(successor)))
    with pytest.raises(Fenced, match="another resolver has taken over partition 0"):
        frozen.publish(found)
    assert place.given_back() == ["stored"]


def test_what_comes_later_begins_where_the_former_resolver_was(place: Place) -> None:
    first = place.waypoint()
    first.publish(first.look_up(place.rest(first)))
    place.sent("later")
    second = place.waypoint()
    assert [record.offset for record in place.rest(second)] == [2]


def test_an_outcome_keeps_its_stamp_and_what_waits_is_told_until_when(place: Place) -> None:
    waypoint = place.waypoint()
    records = place.rest(waypoint)
    began_s = time.time()
    waypoint.publish(waypoint.look_up(records))
    [resolved] = consumed_all(place.settings, "outcomes_resolved")
    [waiting] = consumed_all(place.settings, "outcomes_retry_1m")
    assert (resolved.timestamp_ms, waiting.timestamp_ms) == (records[0].timestamp_ms, records[1].timestamp_ms)
    assert waiting.value == records[1].value
    assert began_s + 59 < Waypoint.due_s(waiting) < time.time() + 61


def consumed_all(settings: Settings, topic: str) -> list[Record]:
    return [Record.of(message) for message in messages(settings, topic)]


def test_records_that_carry_their_context_cost_no_transaction_and_no_look_up(place: Place) -> None:
    waypoint = Waypoint(place.settings.model_copy(update={"clickhouse_url": None}), place.tp, None)
    [record, _] = place.rest(waypoint)
    whole = record._replace(value=avro(outcome(), "outcome"))
    found = waypoint.look_up([whole])
    waypoint.publish(found)
    assert found.fates == []
    assert place.waypoint().open() is None


def test_without_an_address_of_clickhouse_nobody_can_say(place: Place) -> None:
    waypoint = Waypoint(place.settings.model_copy(update={"clickhouse_url": None}), place.tp, None)
    with pytest.raises(ConfigurationError, match="no ClickHouse address"):
        waypoint.look_up(place.rest(waypoint))


class Lapsed:
    """The consumer of a worker that was a member: it takes the partition over anew, and owns nothing until then."""

    def owns(self, batch: Batch) -> bool:
        return False

    def complete(self, batch: Batch) -> bool:
        raise AssertionError("what is another's is not completed")


def test_what_waited_when_a_membership_lapsed_is_dropped_and_ends_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked for the partition's producer first, which there is none of meanwhile (seen: KeyError)."""
    monkeypatch.setattr(resolver, "consumer_of", lambda app: Lapsed())
    waited = Batch(place.tp, list(messages(place.settings, "outcomes")), 1)
    asyncio.run(Resolver(place.settings)._resolve(place.tp, [waited]))
    assert place.given_back() == []


class Owning(Lapsed):
    def owns(self, batch: Batch) -> bool:
        return True


def test_a_publication_that_does_not_return_ends_the_worker(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka may hang in it for minutes; meanwhile nothing of the partition would be resolved."""
    monkeypatch.setattr(resolver, "consumer_of", lambda app: Owning())
    monkeypatch.setattr(resolver, "PUBLISH_TIMEOUT_S", 0.2)
    returns = threading.Event()
    monkeypatch.setattr(Waypoint, "publish", lambda waypoint, found: returns.wait())

    async def story() -> None:
        it = Resolver(place.settings)
        await it.restore(place.tp)
        try:
            await it._resolve(place.tp, [Batch(place.tp, list(messages(place.settings, "outcomes")), 1)])
        finally:
            returns.set()

    with pytest.raises(DeliveryFailed, match=r"what was found for .*outcomes-0 was not published within"):
        asyncio.run(story())

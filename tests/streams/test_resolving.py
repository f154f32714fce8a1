"""One partition of bare outcomes on the real Kafka and ClickHouse; one resolver after the other, in this process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from faust.types import TP

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.errors import ConfigurationError, DeliveryFailed, Fenced
from stoploss.settings import Settings
from stoploss.store import inserts
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from stoploss.store.stored import Stored
from stoploss.wire.traces import decode_values
from streams import resolver
from streams.batches import Batch, Record
from streams.looking_up import DUE_HEADER, LookedUp, Waypoint
from streams.resolver import Resolver
from tests.installation import Kafka, appending, consumed, create_topics, keys_of, messages, settings_of
from tests.intake.records import AT, avro, outcome, take_in, trace

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


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
            bare = outcome(trace_id=trace_id, at=time.time_ns() // 1_000, assignments=[])
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
    assert (place.given_back(), keys_of(place.settings, "outcomes_retry_1m")) == (["stored"], {b"nowhere"})
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
    """lived: how often the watchdog was told that work gets on."""

    def __init__(self) -> None:
        self.lived = 0

    def owns(self, batch: Batch) -> bool:
        return True

    def lives(self, tps: Iterable[TP]) -> None:
        self.lived += 1


def test_who_waits_tells_the_watchdog_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records wait for an hour, and a worker that gets nothing done for a minute is ended."""
    consumer = Owning()
    monkeypatch.setattr(resolver, "consumer_of", lambda app: consumer)
    monkeypatch.setattr(resolver, "SLEEP_S", 0.05)
    first, *_ = place.rest(place.waypoint())
    due_ms = int((time.time() + 0.5) * 1_000)
    waiting = TP(place.settings.topics("outcomes_retry_1m"), 0)
    record = first._replace(topic=waiting.topic, headers=[(DUE_HEADER, b"%d" % due_ms)])
    assert asyncio.run(Resolver(place.settings)._due(waiting, [record])) == [record]
    assert time.time() * 1_000 >= due_ms
    assert 8 <= consumer.lived <= 12


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

"""One partition of bare outcomes: read, looked up, published. All of it blocks, so it has a thread of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from faust.types import TP

from stoploss.errors import ConfigurationError, StoplossError
from stoploss.intake.bare import Bare, bare_outcomes, with_context
from stoploss.settings import Settings
from stoploss.store.client import connect
from stoploss.store.trace_contexts import TraceContext, contexts_of
from stoploss.wire.framing import CONFLUENT, CONFLUENT_SIZE
from stoploss.wire.traces import Decoded, decode_values
from streams.admin import Admin
from streams.batches import Record
from streams.schema_registry import resolver_of
from streams.source_transactions import SourceTransactor
from streams.transactions import Headers, Outgoing

ANSWER_TIMEOUT_S = 10
GIVEN_BACK_ON = "outcomes_resolved"
DUE_HEADER = "stoploss-due"
"""When the record is to be looked up again, milliseconds since 1970 by the clock of whoever sent it to wait."""
RESOLVED, AGAIN, UNRESOLVED = "resolved", "again", "unresolved"


class NotAnswered(StoplossError):
    """The schema registry has not said yet what it knows of a schema; the joiner may have heard of it by now."""


@dataclass(frozen=True, slots=True)
class LookedUp:
    """What became of some records.

    fates  of those that are bare, with what is to be sent
    done   the offset behind the last of all
    """

    fates: Sequence[tuple[str, Outgoing]]
    done: int

    def counts(self) -> Mapping[str, int]:
        return Counter(fate for fate, _ in self.fates)


class Waypoint:
    """One partition, from the moment it is taken over.

    then  where a bare outcome goes whose trace is not stored yet, and how long it waits there; None: it is given up
    """

    def __init__(self, settings: Settings, tp: TP, then: tuple[str, float] | None) -> None:
        self.settings, self.tp, self._then = settings, tp, then
        group = f"stoploss-{settings.installation}-resolver"
        identity = f"{group}-{tp.topic.removeprefix(settings.topic_prefix)}-{tp.partition}"
        self._transactor = SourceTransactor(settings.need_kafka(), identity, tp, f"{group}-place", group)
        self._registry = resolver_of(settings)
        self._client: Client | None = None

    def open(self) -> int | None:
        """Fences whoever had the partition before; the offset to go on from, None: nobody has begun it."""
        self._transactor.open()
        return self._transactor.place(Admin(self.settings.need_kafka()).uuid(self.tp.topic))

    def close(self) -> None:
        """Another waypoint has taken its place."""
        self._transactor.close()

    @staticmethod
    def due_s(record: Record) -> float:
        """When it is to be looked up, seconds since 1970; 0 where nobody has said."""
        said = dict(record.headers).get(DUE_HEADER) or b""
        return int(said) / 1_000 if said.isdigit() and len(said) < 16 else 0.0

    def look_up(self, records: Sequence[Record]) -> LookedUp:
        """Raises ClickHouseError, ConfigurationError, NotAnswered or OSError where nobody can say now."""
        values = [record.value for record in records]
        decoded = decode_values(values, "outcome", self._registry)
        self._await_schemas(decoded, values)
        bare = bare_outcomes(decoded, values)
        known = self._contexts(bare.trace_ids) if bare.outcomes else {}
        return LookedUp(list(self._fates(bare, records, known)), records[-1].offset + 1)

    def publish(self, found: LookedUp) -> None:
        """Nothing to say, nothing to commit: records that are not bare cost no transaction."""
        if found.fates:
            self._transactor.publish_up_to([outgoing for _, outgoing in found.fates], found.done)

    def _await_schemas(self, decoded: Decoded, values: Sequence[bytes | None]) -> None:
        """Raises NotAnswered: what nobody can read yet may be bare, and the joiner may have left it to us."""
        unknown = [values[fault.position] or b"" for fault in decoded.refused if fault.code == "unknown_schema"]
        named = {int.from_bytes(value[1:CONFLUENT_SIZE], "big") for value in unknown if value[:1] == CONFLUENT}
        if self._registry is not None and not all(map(self._registry.has_answered, named)):
            raise NotAnswered("the schema registry has not answered yet what it knows of the schemas of these records")

    def _contexts(self, trace_ids: Sequence[str]) -> dict[str, TraceContext]:
        try:
            if self._client is None:
                address, database = self.settings.need_clickhouse(), self.settings.clickhouse_database
                self._client = connect(address, database=database, answer_timeout_s=ANSWER_TIMEOUT_S)
            return contexts_of(self._client, trace_ids)
        except (ClickHouseError, ConfigurationError, OSError):
            self._client = None
            raise

    def _fates(
        self, bare: Bare, records: Sequence[Record], known: Mapping[str, TraceContext]
    ) -> Iterator[tuple[str, Outgoing]]:
        for position, outcome in zip(bare.positions, bare.outcomes, strict=True):
            context, record = known.get(outcome["trace_id"]), records[position]
            if context is None and self._then is not None:
                yield AGAIN, self._again(record, outcome["trace_id"], *self._then)
                continue
            resolved = None if context is None else with_context(outcome, asdict(context))
            fate, value = (UNRESOLVED, record.value or b"") if resolved is None else (RESOLVED, resolved)
            yield fate, self._outgoing(self.settings.topics(GIVEN_BACK_ON), record, outcome["trace_id"], value)

    def _again(self, record: Record, trace_id: str, topic: str, wait_s: float) -> Outgoing:
        due_ms = round((time.time() + wait_s) * 1_000)
        return self._outgoing(topic, record, trace_id, record.value or b"", ((DUE_HEADER, str(due_ms).encode()),))

    def _outgoing(self, topic: str, record: Record, trace_id: str, value: bytes, headers: Headers = ()) -> Outgoing:
        """Under the stamp of the original: whether it is timely does not hang on how long its trace was looked for."""
        return Outgoing(topic, trace_id.encode(), value, headers, max(0, record.timestamp_ms))

"""ClickHouse and its recorder in a few lines: what intake and joiner have given to be stored, and who asks for it.

The recorder is not simulated (its own tests are in tests/streams and tests/store): it is late, and loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from clickhouse_connect.driver.exceptions import OperationalError

from stoploss.store.arrow import CleanKind, clean_from_bytes
from stoploss.store.trace_contexts import TraceContext
from tests.simulation.now import running
from tests.simulation.roles import TOPICS
from tests.simulation.services import Place
from tests.simulation.traffic import CARD

if TYPE_CHECKING:
    from tests.simulation.world import World

CONTEXT = tuple(field.name for field in fields(TraceContext))
Order = tuple[bool, int, str, int, int]


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """since_us: when it came to be there."""

    context: TraceContext
    order: Order
    since_us: int


class Store:
    """quarantined  of each record that is stored, whether it is
    traces          by trace id; of several the first that was judged, as in store/trace_contexts.py
    unmasked        records whose text holds a card number
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.quarantined: dict[Place, bool] = {}
        self.traces: dict[str, StoredTrace] = {}
        self.unmasked: list[Place] = []
        self._read = 0

    def record(self) -> None:
        """Whatever is there by now."""
        [log] = self.world.broker.topics[TOPICS("traces_clean")].logs
        if self._read >= log.end:
            return
        found, self._read = log.read(self._read, committed=True, most=1_000)
        for record in found:
            clean = clean_from_bytes(record.value)
            for row in clean.frame.iter_rows(named=True):
                self._take(clean.kind, row)

    def _take(self, kind: CleanKind, row: Mapping[str, Any]) -> None:
        """Columns without any value are left out of a record."""
        place = row["topic_uuid"], row["partition"], row["offset"]
        self.quarantined[place] = row.get("quarantined") is not None
        if CARD in (row.get("output_text") or ""):
            self.unmasked.append(place)
        if kind == "traces" and row["assignments"]:
            self._take_trace(row, (self.quarantined[place], row["broker_at"], *place))

    def _take_trace(self, row: Mapping[str, Any], order: Order) -> None:
        before = self.traces.get(row["trace_id"])
        since_us = before.since_us if before else self.world.now_us
        if before is None or order < before.order:
            context = TraceContext(**{name: row.get(name) for name in CONTEXT})
            self.traces[row["trace_id"]] = StoredTrace(context, order, since_us)


class SimClient:
    """What store.client.connect gives: here it is asked by contexts_of alone."""

    def __init__(self, *_: object, **__: object) -> None:
        self.world, self.process = running()


def contexts_of(client: SimClient, trace_ids: Sequence[str]) -> dict[str, TraceContext]:
    """As store.trace_contexts.contexts_of."""
    world = client.world
    world.effect(client.process, "ask ClickHouse")
    if world.happens(world.scenario.store_away):
        raise OperationalError("the simulation does not answer")
    stored = world.store.traces
    return {trace_id: stored[trace_id].context for trace_id in trace_ids if trace_id in stored}

"""Snapshots and cursors on the compacted topic `snapshots`, in the ledger partition's own partition.

    cursor/<experiment>              JSON of state.Cursor, written in the transaction of the outputs it tells of
    snapshot/<generation mod 3>/<n>  part n of a snapshot; headers: generation, parts

Snapshots are a cache of the fold: written now and then, outside transactions. Of three generations at least one is
whole whatever moment the writer died at; if none verifies, the ledger is folded from its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from confluent_kafka import Message

from stoploss import snapshot
from stoploss.errors import InvalidExperiment, SnapshotUnreadable
from stoploss.state import Cursor, PartitionState
from streams.appender import Appender
from streams.collecting import nothing_collected
from streams.reading import whole

PART_BYTES = 700_000
GENERATIONS = 3


@dataclass(frozen=True, slots=True)
class Restored:
    """What a judge begins with: state, cursors of its experiments, next generation, and what was unreadable.

    parts  of the largest snapshot that stands there
    """

    state: PartitionState
    cursors: dict[str, Cursor]
    generation: int
    parts: int
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    size_bytes: int
    parts: int


def cursor_record(cursor: Cursor) -> tuple[bytes, bytes]:
    """Key and value of a cursor."""
    return f"cursor/{cursor.experiment}".encode(), json.dumps(asdict(cursor)).encode()


def write_snapshot(
    appender: Appender, topic: str, state: PartitionState, generation: int, secret: bytes, parts_before: int = 0
) -> Written:
    """Writes one generation and waits until it is stored.

    parts_before  of the largest snapshot so far: what this one does not need of them is made to be forgotten
    """
    with nothing_collected():
        data = snapshot.dump(state, secret)
    parts = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
    slot = generation % GENERATIONS
    headers = [("generation", str(generation).encode()), ("parts", str(len(parts)).encode())]
    for number, part in enumerate(parts):
        key = f"snapshot/{slot}/{number}".encode()
        appender.append(topic, part, key=key, partition=state.partition, headers=headers)
    for spare in range(len(parts), parts_before):
        appender.append(topic, None, key=f"snapshot/{slot}/{spare}".encode(), partition=state.partition)
    appender.flush()
    return Written(len(data), len(parts))


def read_snapshots(bootstrap: str, topic: str, partition: int, secret: bytes) -> Restored:
    """The newest whole snapshot that verifies, or an empty state, and all cursors."""
    cursors: dict[str, Cursor] = {}
    slots: dict[int, dict[int, Message]] = {}
    for message in whole(bootstrap, topic, partition):
        kind, _, name = (message.key() or b"").decode().partition("/")
        if kind == "cursor":
            cursors[name] = _cursor(message.value() or b"{}")
        elif kind == "snapshot":
            slot, number = map(int, name.split("/"))
            slots.setdefault(slot, {})[number] = message
    return _newest(partition, cursors, slots, secret)


def _newest(
    partition: int, cursors: dict[str, Cursor], slots: dict[int, dict[int, Message]], secret: bytes
) -> Restored:
    unreadable: list[str] = []
    by_generation = sorted(
        ((_generation(parts[0]), parts) for parts in slots.values() if 0 in parts),
        reverse=True,
        key=lambda item: item[0],
    )
    next_generation = by_generation[0][0] + 1 if by_generation else 0
    most = max((number + 1 for parts in slots.values() for number, part in parts.items() if part.value()), default=0)
    for generation, parts in by_generation:
        try:
            data = b"".join(_whole(generation, parts))
            with nothing_collected():
                state = snapshot.load(PartitionState, data, secret)
            _must_fit(state, cursors)
            return Restored(state, cursors, next_generation, most, tuple(unreadable))
        except SnapshotUnreadable as error:
            unreadable.append(f"generation {generation}: {error}")
    return Restored(PartitionState(partition), cursors, next_generation, most, tuple(unreadable))


def _header(message: Message, name: str) -> int:
    return int(dict(message.headers() or [])[name] or -1)


def _generation(message: Message) -> int:
    return _header(message, "generation") if message.value() is not None else -1


def _whole(generation: int, parts: dict[int, Message]) -> list[bytes]:
    expected = _header(parts[0], "parts")
    found = [parts.get(number) for number in range(expected)]
    values = [part.value() for part in found if part is not None and _generation(part) == generation]
    whole = [value for value in values if value is not None]
    if len(whole) != expected:
        raise SnapshotUnreadable(f"{len(whole)} of {expected} parts are there")
    return whole


def _cursor(value: bytes) -> Cursor:
    """A newer version's may have more in it."""
    known = {field.name for field in fields(Cursor)}
    return Cursor(**{name: told for name, told in json.loads(value).items() if name in known})


def _must_fit(state: PartitionState, cursors: Mapping[str, Cursor]) -> None:
    """Raises SnapshotUnreadable where its version had other rules, or could not judge an experiment."""
    left_out = {c.experiment for c in cursors.values() if c.offset <= state.offset} - state.experiments.keys()
    if left_out:
        raise SnapshotUnreadable(f"made by a version that could not judge {', '.join(sorted(left_out))}")
    for experiment in state.experiments.values():
        try:
            rules = {rule.key for rule in experiment.rules}
        except InvalidExperiment as error:
            raise SnapshotUnreadable(f"this version cannot read a spec in it: {error}") from error
        if rules != experiment.current.rules.keys():
            other = ", ".join(sorted(rules ^ experiment.current.rules.keys()))
            raise SnapshotUnreadable(f"made by a version with other rules for {experiment.name!r}: {other}")

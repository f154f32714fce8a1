"""Damaged snapshots and ledgers: refused by name, and the judge goes on."""

from __future__ import annotations

import contextlib
from functools import cache
from random import Random

import zstandard

from stoploss import ledger, snapshot
from stoploss.errors import SnapshotUnreadable, WireError
from stoploss.ledger import Entry, EvidenceBlock, Tick
from stoploss.monitor import step
from stoploss.state import PartitionState
from tests.fuzz.mutations import damaged
from tests.timelines import EVERY_RULE, SECRET, Timeline, spec, stored, traces

HEADER, MAC = 8, 32
WITHOUT_RIVER = "\n".join(line for line in EVERY_RULE.splitlines() if not line.startswith("drift"))


@cache
def _timeline(rules: str) -> Timeline:
    timeline = Timeline(spec(rules)).started()
    for second in range(3):
        timeline.seconds(1)
        timeline.traces(traces(300, seed=second, tenant="acme", language="de"), block_rows=100)
    return timeline


@cache
def _saved(rules: str) -> bytes:
    return stored(_timeline(rules).state)


def check_snapshot(seed: int) -> int:
    """Altered bytes never load. Under the right MAC they may, where they say the same; nothing else is ever raised.

    River's own form stays out of the second: it believes what it is given, and the MAC is there for that.
    """
    rng = Random(seed)
    altered = damaged(rng, _saved(EVERY_RULE))
    if altered != _saved(EVERY_RULE):
        with contextlib.suppress(SnapshotUnreadable):
            snapshot.load(PartitionState, altered, SECRET)
            raise AssertionError("altered bytes were loaded")
    with contextlib.suppress(SnapshotUnreadable):
        snapshot.load(PartitionState, _signed(_damaged_inside(rng, _saved(WITHOUT_RIVER))), SECRET)
    return 2


def _damaged_inside(rng: Random, saved: bytes) -> bytes:
    """The packed bytes, with a change in them, or in what they hold."""
    packed = saved[HEADER + MAC :]
    if rng.random() < 0.3:
        return damaged(rng, packed)
    body = zstandard.ZstdDecompressor().stream_reader(packed).read()
    size = 8 + int.from_bytes(body[:8], "little")
    tree = damaged(rng, body[:size], rng.choice((0, 8)))
    return zstandard.ZstdCompressor(level=1).compress(tree + body[size:])


def _signed(packed: bytes) -> bytes:
    return snapshot.MAGIC + snapshot._mac(packed, SECRET) + packed


def check_ledger(seed: int) -> int:
    """A damaged entry is passed over or folded; behind it the judge stands as firm as before, and can be saved."""
    rng = Random(seed)
    state = snapshot.load(PartitionState, _saved(EVERY_RULE), SECRET)
    entries = _timeline(EVERY_RULE).entries
    blocks = [entry.fact for entry in entries if isinstance(entry.fact, EvidenceBlock)]
    at = entries[-1].at
    for offset in range(len(entries), len(entries) + 40):
        fact = rng.choice(blocks) if rng.random() < 0.7 else rng.choice(entries).fact
        value = damaged(rng, ledger.encode(fact), 10)
        with contextlib.suppress(WireError):
            step(state, Entry(0, offset, at, ledger.decode(value)))
    at += 1_000_000
    step(state, Entry(0, len(entries) + 40, at, Tick(0, "judge")))
    assert stored(snapshot.load(PartitionState, stored(state), SECRET)) == stored(state)
    return 40

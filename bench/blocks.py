"""How large the ledger's blocks are: python -m bench.blocks [--loads 1 100 1000 10000 50000] [--seconds 10]

bytes   what a trace takes in the ledger by rows a block: in the record, and on the broker's disk where each block is
        sent by itself, as it is when little comes
curve   rows a block that intake makes by itself at each load: it reads and publishes what has gathered, and rests in
        proportion to its work; everything runs as `stoploss up` runs it
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.latency import BUSY, background, installed
from bench.load import fields_of
from bench.table import Table, heading
from stoploss import ledger
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.emit.encoding import encode_trace
from stoploss.intake.pipeline import read_traces
from stoploss.intake.results import Fetched
from stoploss.intake.rows import build_blocks
from stoploss.ledger import EvidenceBlock
from stoploss.settings import Settings
from streams.admin import Admin
from streams.reading import whole
from tests.installation import appending, settings_of
from tests.intake.records import AT, NAME, SALT, SOURCE, raw, watching

ROWS_A_BLOCK = (1, 20, 200, 5_000)
TRACES = 5_000
LOADS = (1, 100, 1_000, 10_000, 50_000)
SECONDS = 10.0


# ---- bytes -----------------------------------------------------------------------------------------


def values() -> list[bytes]:
    chance = random.Random(5)
    return [
        encode_trace({**fields_of(chance, NAME, text_share=0.1), "trace_id": uuid.UUID(int=number).hex, "at": AT}).value
        for number in range(TRACES)
    ]


def blocks(some: Sequence[bytes], rows: int) -> Iterator[bytes]:
    """As intake writes them, each read of so many traces a block."""
    watched = watching()
    for start in range(0, len(some), rows):
        fetched = Fetched.of(SOURCE, raw(some[start : start + rows]))
        [found] = read_traces([fetched], watched, salt=SALT, now_micros=AT)
        for part in found.rows.values():
            yield from map(ledger.encode, build_blocks(part))


def on_disk(settings: Settings, data: Path) -> int:
    """Bytes of the ledger's segments, without their indexes."""
    logs = data.rglob(f"{settings.topics('ledger')}-*/*.log")
    return sum(path.stat().st_size for path in logs)


def bytes_by_rows() -> Table:
    table = Table(("rows a block", "bytes of a trace in the record", "on the broker's disk"))
    some = values()
    for rows in ROWS_A_BLOCK:
        with tempfile.TemporaryDirectory() as name, EmbeddedKafka(Path(name) / "kafka") as kafka:
            settings = settings_of(kafka, Path(name), ledger_partitions=1)
            Admin(settings.need_kafka()).create(settings)
            appender, size = appending(settings), 0
            for value in blocks(some, rows):
                appender.append(settings.topics("ledger"), value, key=NAME.encode(), partition=0)
                appender.flush()
                size += len(value)
            stored = on_disk(settings, Path(name))
        table.add(f"{rows:,}", f"{size / TRACES:,.0f}", f"{stored / TRACES:,.0f}")
    return table


# ---- the curve -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Made:
    """Rows and bytes of one block."""

    rows: int
    size_bytes: int


def made_since(settings: Settings, since_ms: int) -> list[Made]:
    """Blocks of the busy experiment that the broker has taken since then."""
    found = whole(str(settings.need_kafka()), settings.topics("ledger"), since_ms=since_ms)
    some = [(message.value() or b"", message.key()) for message in found]
    facts = [(ledger.decode(value), len(value)) for value, key in some if key == BUSY.encode()]
    return [Made(fact.rows, size) for fact, size in facts if isinstance(fact, EvidenceBlock)]


def curve(loads: Sequence[int], seconds: float) -> Table:
    table = Table(("traces/s sent", "in blocks, a second", "blocks a second", "rows a block", "bytes of a trace"))
    with tempfile.TemporaryDirectory() as home, installed(Path(home)) as settings:
        for rate_per_s in loads:
            with background(settings, rate_per_s):
                since_ms = time.time_ns() // 1_000_000
                time.sleep(seconds)
                made = made_since(settings, since_ms)
            rows = sum(one.rows for one in made)
            if len(made) < 2:
                raise SystemExit(
                    f"at {rate_per_s} traces/s {len(made)} blocks came within {seconds} s: try more seconds"
                )
            cuts = statistics.quantiles([one.rows for one in made], n=20, method="inclusive")
            table.add(
                f"{rate_per_s:,}",
                f"{rows / seconds:,.0f}",
                f"{len(made) / seconds:,.1f}",
                f"{cuts[9]:,.0f} ({cuts[0]:,.0f}–{cuts[18]:,.0f})",
                f"{sum(one.size_bytes for one in made) / rows:,.0f}",
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, nargs="+", default=LOADS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    given = parser.parse_args()
    heading("The ledger's blocks", f"{TRACES:,} traces with a text in each tenth.", ("confluent-kafka", "polars"))
    print(bytes_by_rows().markdown())
    print(f"\nWhat intake makes of each load within {given.seconds:g} s; rows a block: median (5 %–95 %).\n")
    print(curve(given.loads, given.seconds).markdown())


if __name__ == "__main__":
    main()

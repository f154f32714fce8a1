"""Real requests from a log: when they arrived and how many tokens they read and wrote; nothing else is known of them.

The format is that of the Azure LLM inference traces: TIMESTAMP, ContextTokens, GeneratedTokens, with up to seven
digits of a second, of which microseconds are kept. Times without a zone are UTC. Lines may come in any order.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from stoploss.commands import Micros
from stoploss.errors import ConfigurationError

TIME, INPUT, OUTPUT = "TIMESTAMP", "ContextTokens", "GeneratedTokens"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Arrival(NamedTuple):
    """One request of the log: seconds after the first one, and its tokens."""

    offset_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The requests of a log, in the order of their arrival.

    first_at  when the first one arrived, microseconds since 1970-01-01 UTC
    factor    by which time is compressed: 60 makes a minute of an hour
    """

    source: str
    first_at: Micros
    arrivals: tuple[Arrival, ...]
    factor: float = 1.0

    def __len__(self) -> int:
        return len(self.arrivals)

    def __iter__(self) -> Iterator[Arrival]:
        return (arrival._replace(offset_s=arrival.offset_s / self.factor) for arrival in self.arrivals)

    @property
    def duration_s(self) -> float:
        """From the first request to the last, compressed."""
        return self.arrivals[-1].offset_s / self.factor

    @property
    def label(self) -> str:
        """What is real and what is not, in a sentence for reports."""
        time = "" if self.factor == 1 else f", time compressed {self.factor:g} times"
        return (
            f"{len(self):,} requests of {self.source}: arrival times and token counts are real{time}; users, segments, "
            "latency, cost, scores, assignment and harm are drawn from the seed"
        )

    def compressed(self, factor: float) -> Arrivals:
        """The same requests, `factor` times as fast; raises ConfigurationError unless it is above 0."""
        if not factor > 0:
            raise ConfigurationError(f"time cannot be compressed {factor} times; give a number above 0, such as 60")
        return Arrivals(self.source, self.first_at, self.arrivals, self.factor * factor)


def read_arrivals(path: Path) -> Arrivals:
    """The requests of a CSV file; raises ConfigurationError naming line and field where it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = sorted(_rows(path.name, csv.DictReader(file)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"the request log {path} cannot be read: {error}") from error
    if not rows:
        raise ConfigurationError(f"the request log {path} has no requests; give one with at least one line of data")
    first_at = rows[0][0]
    arrivals = tuple(Arrival((at - first_at) / 1e6, *tokens) for at, *tokens in rows)
    return Arrivals(path.name, first_at, arrivals)


def _rows(name: str, reader: csv.DictReader[str]) -> Iterator[tuple[Micros, int, int]]:
    columns = reader.fieldnames or []
    missing = [column for column in (TIME, INPUT, OUTPUT) if column not in columns]
    if missing:
        raise ConfigurationError(
            f"{name} has no column {', '.join(missing)}; its first line names {', '.join(columns)}"
        )
    for row in reader:
        where = f"{name} line {reader.line_num}"
        yield _micros(where, row[TIME]), _tokens(where, INPUT, row[INPUT]), _tokens(where, OUTPUT, row[OUTPUT])


def _micros(where: str, value: str | None) -> Micros:
    """Python keeps six digits of a second and drops the seventh."""
    try:
        moment = datetime.fromisoformat((value or "").strip())
    except ValueError:
        wanted = "write a time such as 2023-11-16 18:15:46.6805900"
        raise ConfigurationError(f"{where}, {TIME}: {value!r} is no time; {wanted}") from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _tokens(where: str, field: str, value: str | None) -> int:
    text = (value or "").strip()
    if not (text.isascii() and text.isdigit()):
        raise ConfigurationError(
            f"{where}, {field}: {value!r} is no count of tokens; write a whole number of at least 0"
        )
    return int(text)

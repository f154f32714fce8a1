"""Where a running `stoploss up` is: written down when it is ready, so that other commands need no settings."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from stoploss.settings import Settings, load

FILE = "addresses.json"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of the parts that this installation runs on, and the process that started them."""

    kafka: str
    clickhouse_url: str
    pid: int
    ledger_partitions: int
    source_partitions: int


def write(settings: Settings) -> None:
    path = settings.home / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    addresses = Addresses(
        settings.need_kafka(),
        settings.need_clickhouse(),
        os.getpid(),
        settings.ledger_partitions,
        settings.source_partitions,
    )
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(asdict(addresses)))
    os.replace(partial, path)


def remove(home: Path) -> None:
    (home / FILE).unlink(missing_ok=True)


def running(home: Path) -> Addresses | None:
    """What a living `stoploss up` wrote down; None where there is none."""
    try:
        found = Addresses(**json.loads((home / FILE).read_text()))
        os.kill(found.pid, 0)
    except (FileNotFoundError, ProcessLookupError, ValueError, TypeError):
        return None
    except PermissionError:
        return found
    return found


def resolved() -> Settings:
    """Settings; addresses that they leave open are those of a running `stoploss up` of the same home."""
    settings = load()
    found = running(settings.home)
    if found is None or settings.kafka:
        return settings
    return load(
        kafka=found.kafka,
        clickhouse_url=settings.clickhouse_url or found.clickhouse_url,
        ledger_partitions=found.ledger_partitions,
        source_partitions=found.source_partitions,
    )

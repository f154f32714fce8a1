"""python -m tests.fuzz NAME SEED: one seed again, with its whole traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from tests.fuzz import acks, commands, console, contract, front, health, intake, otlp, running, specs, stored


def _front(seed: int) -> int:
    with TemporaryDirectory() as directory, EmbeddedClickHouse(Path(directory)) as clickhouse:
        return front.check(seed, clickhouse.port)


def _acks(seed: int) -> int:
    with TemporaryDirectory() as directory, ExitStack() as started:
        kafka = started.enter_context(EmbeddedKafka(Path(directory) / "kafka"))
        return acks.check(seed, started.enter_context(acks.reading(kafka, Path(directory))))


def _health(seed: int) -> int:
    with health.listening() as port:
        return health.check(seed, port)


def _console(seed: int) -> int:
    with TemporaryDirectory() as directory, ExitStack() as started:
        kafka = started.enter_context(EmbeddedKafka(Path(directory) / "kafka"))
        clickhouse = started.enter_context(EmbeddedClickHouse(Path(directory) / "clickhouse"))
        return console.check(seed, started.enter_context(console.asking(kafka, clickhouse, Path(directory))))


CHECKS: dict[str, Callable[[int], int]] = {
    "intake": intake.check,
    "contract": contract.check,
    "otlp": otlp.check,
    "specs": specs.check,
    "commands": commands.check,
    "snapshots": stored.check_snapshot,
    "ledger": stored.check_ledger,
    "front": _front,
    "acks": _acks,
    "health": _health,
    "console": _console,
}


def main(arguments: list[str]) -> None:
    name, seed = arguments
    running.quieten()
    sys.stdout.write(f"{CHECKS[name](int(seed))} inputs of {name} {seed}: nothing found\n")


if __name__ == "__main__":
    main(sys.argv[1:])

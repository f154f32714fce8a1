"""python -m tests.fuzz NAME SEED: one seed again, with its whole traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from tests.fuzz import commands, contract, front, intake, otlp, running, specs, stored


def _front(seed: int) -> int:
    with TemporaryDirectory() as directory, EmbeddedClickHouse(Path(directory)) as clickhouse:
        return front.check(seed, clickhouse.port)


CHECKS: dict[str, Callable[[int], int]] = {
    "intake": intake.check,
    "contract": contract.check,
    "otlp": otlp.check,
    "specs": specs.check,
    "commands": commands.check,
    "snapshots": stored.check_snapshot,
    "ledger": stored.check_ledger,
    "front": _front,
}


def main(arguments: list[str]) -> None:
    name, seed = arguments
    running.quieten()
    sys.stdout.write(f"{CHECKS[name](int(seed))} inputs of {name} {seed}: nothing found\n")


if __name__ == "__main__":
    main(sys.argv[1:])

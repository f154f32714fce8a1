"""How long `stoploss --help` takes, beside an interpreter that does nothing and one that imports Typer.

    python bench/cli_start.py [--runs 41]

Each round runs all of them, so that what else the machine does hits all alike. The CPU column is the process's own
user and system time, which waits for nobody.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bench.table import Table, heading, spread

SCRIPT = Path(sys.executable).parent / "stoploss"
STARTED = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import typer'": [sys.executable, "-c", "import typer"],
    "stoploss --help": [str(SCRIPT), "--help"],
    "stoploss stop --help": [str(SCRIPT), "stop", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=41)
    runs = parser.parse_args().runs
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in STARTED}
    for _ in range(runs):
        for name, command in STARTED.items():
            taken[name].append(measured(command))
    heading("The command line", f"{runs} runs of each, in turn. Goal: stoploss --help in 150 ms.", ("typer",))
    table = Table(("command", "ms", "ms of the processor"))
    for name, pairs in taken.items():
        walls, cpu = zip(*pairs, strict=True)
        table.add(name, spread(walls), spread(cpu))
    print(table.markdown())


def measured(command: list[str]) -> tuple[float, float]:
    """(wall, CPU) of one process that ends well, in ms."""
    begun = time.perf_counter()
    nothing = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=nothing)
    _, status, used = os.wait4(process, 0)
    wall_s = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return 1_000 * wall_s, 1_000 * (used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    main()

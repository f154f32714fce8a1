"""`python -m tests.simulation SEED [LAST] [--bug NAME]` runs one seed, or all to LAST, and says what is wrong."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext

from tests.simulation.bugs import BUGS
from tests.simulation.invariants import Violation
from tests.simulation.seams import simulated
from tests.simulation.world import line_of, run


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.simulation")
    asked.add_argument("seed", type=int)
    asked.add_argument("last", type=int, nargs="?")
    asked.add_argument("--bug", choices=sorted(BUGS))
    told = asked.parse_args()
    failed = 0
    with simulated(), BUGS[told.bug]() if told.bug else nullcontext():
        for seed in range(told.seed, (told.last or told.seed) + 1):
            try:
                run(seed)
            except Violation as why:
                failed += 1
                print(line_of(seed, why))  # noqa: T201
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())

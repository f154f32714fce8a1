"""Every benchmark, one after the other, into one document: `make bench`, or python -m bench.everything [--only store]

Each runs as a process of its own, shortened so that all take less than a quarter of an hour; run one by itself for the
long form. What it prints is its part of bench/RESULTS.md. Where one fails nothing is written, so a document is whole.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.table import machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "RESULTS.md"
GOAL_S = 15 * 60


@dataclass(frozen=True, slots=True)
class Part:
    """A benchmark, and what it is given here."""

    module: str
    arguments: str = ""

    @property
    def command(self) -> str:
        return f"python -m bench.{self.module} {self.arguments}".rstrip()


PARTS = (
    Part("peers", "--runs 3 --stock-faust-traces 30000"),
    Part("store", "--rows 1000000 --repeats 5"),
    Part("memory", "--traces 50000 --values 20000 --experiments 10"),
    Part("pipeline", "--experiments 5 --first 10000 --seconds 15 --search-seconds 8 --profile-seconds 6"),
    Part("soak", "--rate 10000 --traces 100000 200000"),
    Part("scaling_model"),
    Part("latency", "--loads 0,10000 --trials 15 --warming 40"),
    Part("crossing", "--loads 10000 --trials 5"),
    Part("blocks", "--loads 10000 --seconds 4"),
    Part("cli_start"),
    Part("judge_fold"),
    Part("growth", "--runs 1 --experiments 1 10"),
    Part("controller"),
    Part("demo", "--runs 1 --warming 0"),
    Part("replay"),
    Part("otlp"),
    Part("emit_overhead"),
)


def printed(part: Part) -> str:
    """What the benchmark prints; its progress goes to this process's stderr."""
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{part.module}", *part.arguments.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{part.command} ended with {done.returncode}; {RESULTS.name} stays as it was")
    print(f"{part.command}: {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)
    return f"{done.stdout.strip()}\n\n`{part.command}`\n"


def document(parts: list[str], took_s: float) -> str:
    made = datetime.now(UTC).date().isoformat()
    head = f"# What was measured\n\n{made}, {machine()}. `make bench` took {took_s / 60:.0f} minutes.\n"
    return "\n".join([head, *parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="some of them, printed and not written")
    given = parser.parse_args()
    began_s = time.monotonic()
    wanted = [part for part in PARTS if given.only is None or part.module in given.only]
    text = document([printed(part) for part in wanted], time.monotonic() - began_s)
    if given.only is None:
        RESULTS.write_text(text)
    else:
        print(text)
    if (took_s := time.monotonic() - began_s) > GOAL_S:
        print(f"that took {took_s / 60:.0f} minutes; it is to take less than {GOAL_S // 60}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""From `make demo` on a warm machine to the first command that it tells of, and to its end.

    python -m bench.demo [--runs 3] [--warming 1]

Everything is installed and was started once before: what is measured is the start of Kafka, ClickHouse and every role,
of traffic, and the time until harm has begun and is answered: the first begins when a tenth of the traffic was sent,
4.5 s after its begin.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.table import Table, heading, spread

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [str(Path(sys.executable).with_name("stoploss")), "demo"]
TOLD = {
    "traffic begins": re.compile(r"Services send"),
    "harm begins": re.compile(r"harm begins"),
    "first command": re.compile(r"  (pause|rollback|stop|throttle)  "),
    "its flag is switched": re.compile(r"  flag .*: everybody gets "),
    "everything is told": re.compile(r"Look further"),
}


def told(home: Path) -> dict[str, float]:
    """Seconds from the start of the process to the first line of each kind."""
    began_s = time.monotonic()
    environment = {**os.environ, "STOPLOSS_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    found: dict[str, float] = {}
    with subprocess.Popen(COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            for name, pattern in TOLD.items():
                if pattern.search(line):
                    found.setdefault(name, time.monotonic() - began_s)
    if process.returncode or len(found) < len(TOLD):
        raise SystemExit(f"the demo ended with {process.returncode}, and has told of {', '.join(found) or 'nothing'}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--warming", type=int, default=1, help="runs that come first and are not told")
    given = parser.parse_args()
    heading("The demo", f"{given.runs} runs, after {given.warming} before. Goal: the first command within 20 s.")
    with tempfile.TemporaryDirectory() as directory:
        measured = [told(Path(directory)) for _ in range(given.warming + given.runs)][given.warming :]
    table = Table(("what is told", "s after the start"))
    for name in TOLD:
        table.add(name, spread([one[name] for one in measured], digits=1))
    print(table.markdown())


if __name__ == "__main__":
    main()

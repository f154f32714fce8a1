"""Where a Python process spends its time: py-spy's samples, by function."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

SAMPLES_A_SECOND = 100
TOP = 8
WAITS = {
    "EpollSelector.select",
    "_worker",
    "Condition.wait",
    "Event.wait",
    "end_with_parent.<locals>.wait",
    "ThreadingHTTPServer.serve_forever",
    "RegistryView._read",  # a poll that nothing comes of: 0.1 % of a core
}
"""Functions in which a thread waits, whatever the system says of it: they are left out."""
ENTRY = ("stoploss/cli/", "stoploss/__main__", "streams/worker")
"""What everything is below."""
_FRAME = re.compile(r"(?P<function>.+?) \((?P<file>.+?)(?::\d+)?\)")


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples in which a thread was at work.

    own     by function of the project: samples below it, in which each counts once
    leaves  by function: samples in itself, with the compiled code that it calls
    """

    samples: int
    own: Counter[str]
    leaves: Counter[str]

    def lines(self) -> list[str]:
        return [
            f"- in and below: {self._shares(self.own)}",
            f"- in itself: {self._shares(self.leaves)}",
        ]

    def _shares(self, counted: Counter[str]) -> str:
        top = counted.most_common(TOP)
        return ", ".join(f"{name} {100 * count / max(self.samples, 1):.0f} %" for name, count in top) or "nothing"


def profile(pid: int, seconds: float) -> Profile:
    """Of a process that runs, without stopping it for longer than a sample takes."""
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name) / "raw"
        command = [
            Path(sys.executable).with_name("py-spy"),
            "record",
            "--pid",
            str(pid),
            "--duration",
            f"{seconds:.0f}",
        ]
        options = ["--rate", str(SAMPLES_A_SECOND), "--format", "raw", "--function", "--output", str(raw)]
        done = subprocess.run([*map(str, command), *options], capture_output=True, text=True, check=False)
        if done.returncode != 0 or not raw.exists():
            raise SystemExit(f"py-spy could not sample process {pid}: {done.stderr.strip()[-500:]}")
        return of_stacks(raw.read_text())


def of_stacks(text: str) -> Profile:
    """
    >>> found = of_stacks("a (streams/feeding.py:1);b (polars/x.py:2) 3\\na (streams/feeding.py:1) 1")
    >>> found.samples, dict(found.own), dict(found.leaves)
    (4, {'feeding.a': 4}, {'x.b': 3, 'feeding.a': 1})
    """
    samples, own, leaves = 0, Counter[str](), Counter[str]()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [match for frame in stack.split(";") if (match := _FRAME.fullmatch(frame))]
        if not frames or frames[-1]["function"] in WAITS:
            continue
        samples += int(count)
        leaves[_name(frames[-1])] += int(count)
        for name in {_name(frame) for frame in frames if _is_own(frame["file"]) and "<" not in frame["function"]}:
            own[name] += int(count)
    return Profile(samples, own, leaves)


def _is_own(file: str) -> bool:
    is_project = "site-packages" not in file and any(part in file for part in ("stoploss/", "streams/"))
    return is_project and not any(part in file for part in ENTRY)


def _name(frame: re.Match[str]) -> str:
    return f"{Path(frame['file']).stem}.{frame['function']}"

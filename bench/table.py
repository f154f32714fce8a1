"""One way to print what was measured: on what machine, with which versions, as a Markdown table, medians with spread.

What a benchmark prints is a part of bench/RESULTS.md as it stands.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

RUNS = 5


@dataclass(slots=True)
class Table:
    """Columns of text; the first is left-aligned, the others right-aligned."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns: {cells}")
        self.rows.append(cells)

    def markdown(self) -> str:
        """
        >>> table = Table(("what", "rows/s"))
        >>> table.add("fold", "1,000")
        >>> print(table.markdown())
        | what | rows/s |
        |:-----|-------:|
        | fold |  1,000 |
        """
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        rule = [("-" * (width + 1) + ":") if place else (":" + "-" * (width + 1)) for place, width in enumerate(widths)]
        lines = [_line(self.columns, widths), f"|{'|'.join(rule)}|", *(_line(row, widths) for row in self.rows)]
        return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, and what it lies between.

    >>> spread([3.0, 1.0, 2_000.0])
    '3 (1–2,000)'
    """
    middle, low, high = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low}–{high})"


def times(value: float) -> str:
    """A ratio: '3.4×'."""
    return f"{value:,.1f}×" if value < 100 else f"{value:,.0f}×"


def mib(size_bytes: float) -> str:
    """'12.3 MiB'."""
    return f"{size_bytes / 2**20:,.1f} MiB"


def machine() -> str:
    """The processor, the cores that this process may use, memory, the system and Python."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} cores, {memory_bytes / 2**30:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions(packages: Iterable[str]) -> str:
    """'numpy 2.4.6, polars 2.0.1', as installed here."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


def heading(title: str, how: str, packages: Iterable[str] = ()) -> None:
    """What a benchmark prints first: its claim, the machine and versions, and how it was measured."""
    print(f"## {title}\n\n{machine()}")
    if used := versions(packages):
        print(f"{used}")
    print(f"\n{how}\n", flush=True)

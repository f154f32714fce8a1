"""How many rows a second the judge folds and judges, by rows a block: `python bench/judge_fold.py`.

One experiment with two guardrails, a drift watch and two segment dimensions (7 values), on one core. Prints the median
of five runs with minimum and maximum, and, as a yardstick for this machine's speed, json.dumps in the same run.
"""

from __future__ import annotations

import json
import platform
import statistics
import time

from tests.timelines import Timeline, merged, spec, traces

SPEC = spec(
    """
segments: [tenant, language]
guardrails:
  - {metric: error_rate, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, action: pause}
drift: [{metric: output_tokens}]
"""
)
TENANTS, LANGUAGES = ("acme", "zeta", "orion", "lumen"), ("en", "de", "fr")
ROWS = 20_000
RUNS = 5


def rows_per_second(block_rows: int, seed: int) -> float:
    """Rows folded and judged a second, ticks included (one for every 5,000 rows)."""
    timeline = Timeline(SPEC).started()
    parts = [
        traces(ROWS // 12, seed=seed + i, users=4_000, tenant=TENANTS[i % 4], language=LANGUAGES[i % 3])
        for i in range(12)
    ]
    some = merged(*parts)
    blocks = list(timeline.blocks(some, block_rows))
    every = max(1, 5_000 // block_rows)
    started_s = time.perf_counter()
    for number, block in enumerate(blocks):
        timeline.append(block)
        if number % every == every - 1:
            timeline.seconds(1)
    return some.rows / (time.perf_counter() - started_s)


def yardstick() -> float:
    """json.dumps of a small document, calls a second."""
    document = {"name": "yardstick", "values": list(range(20))}
    started_s = time.perf_counter()
    for _ in range(20_000):
        json.dumps(document)
    return 20_000 / (time.perf_counter() - started_s)


def main() -> None:
    print(f"{platform.machine()}, Python {platform.python_version()}, {ROWS:,} rows a run, {RUNS} runs")
    print(f"{'rows a block':>12} {'median rows/s':>15} {'minimum':>12} {'maximum':>12}")
    for block_rows in (20, 200, 1_000, 5_000):
        found = [rows_per_second(block_rows, seed=100 * run) for run in range(RUNS)]
        print(f"{block_rows:>12,} {statistics.median(found):>15,.0f} {min(found):>12,.0f} {max(found):>12,.0f}")
    print(f"yardstick: json.dumps of a small document, {yardstick():,.0f} a second")


if __name__ == "__main__":
    main()

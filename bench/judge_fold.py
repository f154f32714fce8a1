"""How many rows a second the judge folds and judges, by rows a block: `python bench/judge_fold.py`.

One experiment with every kind of rule, five metrics, and 28 segment values (20 tenants, 5 languages, 3 channels) beside
everybody. A tick stands in the ledger each second, and each is judged: one for every 5,000 rows is the ledger of 5,000
traces a second, one for every 50,000 that of ten times as many. What is measured is the run's third part: by then every
guardrail has frozen what it freezes and judges. Rates are per second of CPU time of one core, since the machine is
shared: median of five runs with minimum and maximum, and, as a yardstick for this machine's speed, json.dumps in the
same run.
"""

from __future__ import annotations

import json
import time

import numpy as np

from bench.table import RUNS, Table, heading, spread
from stoploss.ledger import EvidenceBlock
from stoploss.lifecycle import Lifecycle
from tests.timelines import EVERY_RULE, Timeline, Traces, spec, traces

# The traffic is a month's within seconds: a budget that nobody could spend, or the run would end there.
SPEC = spec(EVERY_RULE.replace('"experiment:ranking"', "channel").replace("limit: 5000,", "limit: 1000000000,"))
VALUES = {"tenant": 20, "language": 5, "channel": 3}
BLOCK_ROWS = (20, 200, 1_000, 5_000)
TRACES_A_SECOND = (5_000, 50_000)
ROWS = 50_000


def traffic(seed: int, users: int = 40_000) -> Traces:
    """ROWS rows of users few of whom reach their day's cap; the segment values of each drawn at random."""
    some = traces(ROWS, seed=seed, users=users)
    rng = np.random.default_rng(seed)
    for name, values in VALUES.items():
        some.segments[name] = [f"{name}-{i:02}" for i in rng.integers(0, values, ROWS).tolist()]
    return some


def rows_per_second(block_rows: int, rows_a_tick: int, seed: int) -> float:
    """Rows folded and judged per second of CPU time, in a run that has had twice as many rows before."""
    timeline = Timeline(SPEC).started()
    *before, measured = (list(timeline.blocks(traffic(seed + part), block_rows)) for part in range(3))
    for blocks in before:
        _judge(timeline, blocks, rows_a_tick // block_rows)
    started_s = time.process_time()
    _judge(timeline, measured, rows_a_tick // block_rows)
    rate = ROWS / (time.process_time() - started_s)
    if timeline.it.lifecycle != Lifecycle.RUNNING:
        raise SystemExit(f"the run ended: {timeline.findings[-1].sentence}; what was measured is not its judging")
    return rate


def _judge(timeline: Timeline, blocks: list[EvidenceBlock], blocks_a_tick: int) -> None:
    for number, block in enumerate(blocks, start=1):
        timeline.append(block)
        if number % blocks_a_tick == 0:
            timeline.seconds(1)


def yardstick() -> float:
    """json.dumps of a small document, calls per second of CPU time."""
    document = {"name": "yardstick", "values": list(range(20))}
    started_s = time.process_time()
    for _ in range(20_000):
        json.dumps(document)
    return 20_000 / (time.process_time() - started_s)


def main() -> None:
    heading(
        "The judge's fold",
        f"One experiment with every kind of rule, {ROWS:,} rows a run; rows a second of one core's time, median "
        f"(least–most) of {RUNS} runs.",
        ("numpy", "river"),
    )
    table = Table(("traces/s, rows a block", "rows/s of the processor"))
    for rows_a_tick in TRACES_A_SECOND:
        for block_rows in BLOCK_ROWS:
            found = [rows_per_second(block_rows, rows_a_tick, seed=100 * run) for run in range(RUNS)]
            table.add(f"{rows_a_tick:,}, {block_rows:,}", spread(found))
    print(table.markdown())
    print(f"\nYardstick: json.dumps of a small document, {yardstick():,.0f} a second")


if __name__ == "__main__":
    main()

"""How many rows a second a replay folds and judges, in blocks of 5,000 rows: `python bench/replay.py`.

A ledger is written first, as intake would have written it, and then replayed from its stored bytes: decoded, folded,
judged, and compared with the journal that was recorded. One spec has every kind of rule and 28 segment values (that of
bench/judge_fold.py), one has two guardrails and a gate. Each is recorded at 5,000 and 50,000 traces a second: so many
rows stand between two ticks. Rates are per second of CPU time of one core, since the machine is shared: median of the
runs with minimum and maximum, and json.dumps in the same run as a yardstick for this machine.
"""

from __future__ import annotations

import time

from bench.judge_fold import ROWS as PART
from bench.judge_fold import SPEC as EVERY_RULE
from bench.judge_fold import TRACES_A_SECOND, traffic, yardstick
from bench.table import RUNS, Table, heading, spread
from stoploss import ledger
from stoploss.ledger import Entry
from stoploss.lifecycle import Lifecycle
from stoploss.replay import Recorded, StoredEntry, reproduce
from tests.timelines import Timeline, spec, traces

BLOCK_ROWS = 5_000
ROWS = 1_000_000  # fewer are mostly beginning: every user is new, and no guardrail has frozen what it freezes
USERS = ROWS // 4  # few come more than ten times a day: what comes oftener counts in few statistics
GOAL = 600_000

TWO_GUARDRAILS = spec(
    """
guardrails:
  - {metric: latency_ms, direction: lower, margin: {relative: 0.10}}
  - {metric: error_rate, direction: lower, margin: {relative: 0.10}}
gates: [undeclared_tool]
"""
)


def recorded(text: str, rows_a_tick: int) -> Recorded:
    """A ledger of ROWS rows, and its journal."""
    timeline, rows = Timeline(text).started(), 0
    segmented = text is EVERY_RULE
    for part in range(ROWS // PART):
        some = traffic(part, USERS) if segmented else traces(PART, seed=part, users=USERS)
        for block in timeline.blocks(some, BLOCK_ROWS):
            timeline.append(block)
            rows += BLOCK_ROWS
            if rows % rows_a_tick == 0:
                timeline.seconds(1)
    if timeline.it.lifecycle != Lifecycle.RUNNING:
        raise SystemExit(f"the run ended: {timeline.findings[-1].sentence}; what would be measured is not its judging")
    timeline.ask("pause")  # a journal entry at the end, for a replay reads no further than the last
    return Recorded("checkout", 0, [_stored(entry) for entry in timeline.entries], timeline.journal, "memory")


def _stored(entry: Entry) -> StoredEntry:
    return StoredEntry(0, entry.offset, entry.at, ledger.encode(entry.fact))


def rows_per_second(one: Recorded) -> float:
    started_s = time.process_time()
    found = reproduce(one, None, "stoploss.control")
    rate = ROWS / (time.process_time() - started_s)
    if not found.identical:
        raise SystemExit(f"the replay differs: {found.spans[-1].difference}")
    return rate


def main() -> None:
    heading(
        "A replay",
        f"{ROWS:,} rows in blocks of {BLOCK_ROWS:,}, decoded, folded, judged and compared; rows a second of one core's "
        f"time, median (least–most) of {RUNS} runs; goal: {GOAL:,}.",
        ("numpy", "river"),
    )
    table = Table(("rules, traces/s", "rows/s of the processor"))
    for name, text in (("every kind", EVERY_RULE), ("two guardrails", TWO_GUARDRAILS)):
        for rows_a_tick in TRACES_A_SECOND:
            one = recorded(text, rows_a_tick)
            table.add(f"{name}, {rows_a_tick:,}", spread([rows_per_second(one) for _ in range(RUNS)]))
    print(table.markdown())
    print(f"\nYardstick: json.dumps of a small document, {yardstick():,.0f} a second")


if __name__ == "__main__":
    main()

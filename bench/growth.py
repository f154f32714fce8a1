"""What a trace costs the judge as segment values, rules and experiments grow: python -m bench.growth [--runs 5]

A ledger of 10,000 traces a second: each second stand in it, of each experiment, blocks of at most 1,000 rows with its
share of the traces, and a tick. More experiments have the same traces between them, so what grows is what each costs
by itself: a block, a tick, and numpy's calls for a few rows. Told are microseconds of one core's time a trace, in the
third part of a run, when every guardrail has frozen what it freezes; measures for people are made each tenth second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from itertools import count

import numpy as np

from bench.judge_fold import SPEC
from bench.memory import NAME_IN_SPEC, Ledger
from bench.table import RUNS, Table, heading, spread
from stoploss.ledger import EvidenceBlock
from stoploss.lifecycle import Lifecycle
from stoploss.state import PartitionState
from tests.timelines import START, Traces, spec, traces

RATE, MOST_ROWS = 10_000, 1_000
SECONDS = 10
"""Of each of a run's three parts."""
NOTHING: Mapping[str, int] = {}
VALUES = {"tenant": 20, "language": 5, "channel": 3}
MANY_VALUES = {"tenant": 60, "language": 60, "channel": 60}
DIMENSIONS = "segments: [tenant, language, channel]\n"
GUARDRAILS = (
    "  - {metric: error_rate, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}\n",
    "  - {metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, action: pause}\n",
    "  - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance, action: pause}\n",
)
GATES_ALONE = spec(DIMENSIONS)
ONE_GUARDRAIL = spec(DIMENSIONS + "guardrails:\n" + GUARDRAILS[0])
THREE_GUARDRAILS = spec(DIMENSIONS + "guardrails:\n" + "".join(GUARDRAILS))
EXPERIMENTS = (1, 10, 100)
MANY = 100
EACH = {
    f"every rule, {RATE // MANY} traces/s": (SPEC, False),
    "every rule, no traces": (SPEC, True),
    f"gates and one guardrail, {RATE // MANY} traces/s": (ONE_GUARDRAIL, False),
}


class Partition:
    """Experiments of one spec on one ledger partition, and their traffic a second at a time."""

    def __init__(self, text: str, values: Mapping[str, int], experiments: int, seed: int) -> None:
        self.state, offsets = PartitionState(0), count()
        self.values, self.rows, self.seed = values, RATE // experiments, seed
        self.ledgers = []
        for number in range(experiments):
            ledger = Ledger(text.replace(NAME_IN_SPEC, f"name: checkout-{number},"), self.state, offsets)
            ledger.at = max(START, self.state.clock)
            self.ledgers.append(ledger.started())

    def judged(self, second: int, quiet: bool = False) -> float:
        """Processor seconds of a second of the ledger, with traffic or without."""
        at = max(ledger.at for ledger in self.ledgers)
        for ledger in self.ledgers:
            ledger.at = at
        blocks = [
            (ledger, [] if quiet else list(ledger.blocks(self._traffic(second, place % 8), MOST_ROWS)))
            for place, ledger in enumerate(self.ledgers)
        ]
        return _timed(blocks)

    def _traffic(self, second: int, part: int) -> Traces:
        seed = self.seed + 1_000 * second + part
        some, rng = traces(self.rows, seed=seed, users=400_000), np.random.default_rng(seed)
        for name, values in self.values.items():
            some.segments[name] = [f"{name}-{value:02}" for value in rng.integers(0, values, self.rows).tolist()]
        return some

    def require_running(self) -> None:
        if any(ledger.it.lifecycle != Lifecycle.RUNNING for ledger in self.ledgers):
            raise SystemExit("a run ended: what was measured is not its judging")


def _timed(blocks: Sequence[tuple[Ledger, list[EvidenceBlock]]]) -> float:
    began_s = time.process_time()
    for ledger, some in blocks:
        for block in some:
            ledger.append(block)
    first, _ = blocks[0]
    first.seconds(1)
    return time.process_time() - began_s


def judged_s(text: str, values: Mapping[str, int], experiments: int, seed: int, quiet: bool = False) -> float:
    """Processor seconds of the third part of a run; quiet: in which nothing comes."""
    partition = Partition(text, values, experiments, seed)
    *_, third = [
        [partition.judged(SECONDS * part + second, quiet and part == 2) for second in range(SECONDS)]
        for part in range(3)
    ]
    partition.require_running()
    return sum(third)


def micros_a_trace(text: str, values: Mapping[str, int], experiments: int, seed: int) -> float:
    return 1e6 * judged_s(text, values, experiments, seed) / (SECONDS * (RATE // experiments) * experiments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--experiments", type=int, nargs="*", default=EXPERIMENTS)
    given = parser.parse_args()
    heading(
        "What a trace costs the judge",
        f"A ledger of {RATE:,} traces a second; microseconds of one core's time a trace in the last {SECONDS} of "
        f"{3 * SECONDS} seconds, median (least–most) of {given.runs} runs.",
        ("numpy", "river"),
    )
    jobs = {
        "every rule, no segments": (SPEC, NOTHING, 1),
        "every rule, 28 segment values": (SPEC, VALUES, 1),
        "every rule, 180 segment values": (SPEC, MANY_VALUES, 1),
        "28 segment values, gates alone": (GATES_ALONE, VALUES, 1),
        "and one guardrail": (ONE_GUARDRAIL, VALUES, 1),
        "and three": (THREE_GUARDRAILS, VALUES, 1),
        **{f"every rule, 28 values, {n} experiments": (SPEC, VALUES, n) for n in given.experiments},
    }
    table = Table(("what", "µs a trace"))
    for name, job in jobs.items():
        table.add(name, spread([micros_a_trace(*job, seed=100_000 * run) for run in range(given.runs)], digits=2))
    print(table.markdown())
    print(f"\nOf {MANY} experiments, milliseconds of one core an experiment and second:\n")
    each = Table(("each has", "ms"))
    for name, (text, quiet) in EACH.items():
        found = [judged_s(text, VALUES, MANY, 100_000 * run, quiet) for run in range(given.runs)]
        each.add(name, spread([1e3 * one / (SECONDS * MANY) for one in found], digits=2))
    print(each.markdown())


if __name__ == "__main__":
    main()

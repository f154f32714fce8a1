"""How often the judge stops a treatment that is no worse than allowed: `python bench/calibration.py`.

Eight kinds of hard traffic, each drawn anew in every run and played to the judge's own step. The variants do not differ
and the guardrails have no margin, the hardest case of what they promise. Beside it, on the same requests, what is
commonly done: a threshold polled each minute with a failure limit, and a test for a fixed number of requests that is
looked at each minute. Writes bench/calibration.md; counts are kept per row, so that an interrupted bench goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from bench.calibration_peers import Minutes, peeks, polls
from bench.calibration_traffic import METRICS, MINUTES, ROWS, Row, drawn
from stoploss.calibration.findings import stops_of
from stoploss.calibration.rehearsal import Plot, rehearse
from stoploss.rules import rules_version
from stoploss.stats.exact_binomial import interval

RUNS = 2_000
SEED = 20_260
PROMISED = 0.01
POLLED_MARGIN = 0.10
FAILS_AT = 30
OTHERS, THROTTLER = "judge otherwise", "budget"
"""Stops by rules that are not in the table; budgets are not among them, since they make the ramp of one row."""
CHUNK = 50
TICKS_EVERY = 8
"""Blocks: what is judged at ticks only are segments, and here are none."""
OUTPUT = Path(__file__).with_suffix(".md")


@dataclass
class Counts:
    """Of one row: runs done, and false stops by who gave them."""

    rules: str
    seed: int
    runs: int = 0
    stops: dict[str, int] = field(default_factory=dict)


def one(row: Row, seed: int, run: int) -> dict[str, int]:
    """False stops of one run, by who gave them."""
    stream = drawn(row, seed, run)
    ended = rehearse(stream.requests, Plot(row.spec, row.exposure, stream.seed, 60, TICKS_EVERY))
    stoppers = {(alarm.rule.partition("[")[0], alarm.metric) for alarm in stops_of(ended)}
    found = {f"judge {metric}": 1 for rule, metric in stoppers if rule == "guardrail"}
    found[OTHERS] = int(any(rule not in ("guardrail", THROTTLER) for rule, _ in stoppers))
    for metric in METRICS:
        minutes = Minutes.of(stream, metric, row.stages)
        found[f"peeked {metric}"] = int(peeks(minutes, PROMISED))
        found[f"polled {metric}"] = int(polls(minutes, POLLED_MARGIN))
    return found


def counted(row: Row, counts: Counts, runs: int, jobs: int) -> Iterator[Counts]:
    """The row's counts, whenever some more runs are done."""
    with ProcessPoolExecutor(jobs) as pool:
        while counts.runs < runs:
            upto = min(counts.runs + CHUNK, runs)
            for found in pool.map(partial(one, row, counts.seed), range(counts.runs, upto)):
                for who, stopped in found.items():
                    counts.stops[who] = counts.stops.get(who, 0) + stopped
            counts.runs = upto
            yield counts


def kept(path: Path, seed: int) -> Counts:
    """What an earlier bench counted, if it was of the same rules and seed."""
    fresh = Counts(rules_version(), seed)
    if not path.exists():
        return fresh
    found = Counts(**json.loads(path.read_text()))
    return found if (found.rules, found.seed) == (fresh.rules, seed) else fresh


def cell(stops: int, runs: int) -> str:
    low, high = interval(stops, runs, 0.05)
    return f"{100 * stops / runs:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def lines(row: Row, counts: Counts) -> Iterator[str]:
    """A line of the table for each metric of a row."""
    for metric in METRICS:
        judge, peeked, polled = (counts.stops.get(f"{who} {metric}", 0) for who in ("judge", "peeked", "polled"))
        held = "held" if judge < FAILS_AT * counts.runs / RUNS else "**not held**"
        cells = [row.name, metric, f"{counts.runs:,}", cell(judge, counts.runs), held]
        yield f"| {' | '.join([*cells, cell(peeked, counts.runs), cell(polled, counts.runs)])} |"


def document(rows: list[tuple[Row, Counts]], command: str) -> str:
    """The table with what it says and how it came about."""
    runs = min(counts.runs for _, counts in rows)
    fewer = f"\nThe goal is {RUNS:,} runs a row; one here has {runs:,}, and the intervals say so.\n"
    table = "\n".join(line for row, counts in rows for line in lines(row, counts))
    traffic = "\n".join(f"- **{row.name}**: {row.what}" for row, _ in rows)
    return TEMPLATE.format(
        table=table,
        traffic=traffic,
        command=command,
        machine=f"{platform.machine()}, Python {platform.python_version()}",
        rules=rows[0][1].rules,
        fewer=fewer if runs < RUNS else "",
        faults=FAULTS if "**not held**" in table else "",
        others=sum(counts.stops.get(OTHERS, 0) for _, counts in rows),
        all_runs=sum(counts.runs for _, counts in rows),
        fails=FAILS_AT,
        runs=RUNS,
        minutes=MINUTES,
    )


FAULTS = """
A row that is not held is a fault of the judge. It stays here until it is cured.
"""
TEMPLATE = """\
# False stops, measured

Generated by `{command}`; do not edit. {machine}. Rules: {rules}.

Each guardrail promises: at most 1 % of the treatments that are no worse than its margin are ever stopped by it, however
often one looks. Here the two variants do not differ at all and the margins are 0, the hardest case of that promise;
every stop is a false one. Requests are drawn anew in each run and played to the judge's own `step`: {minutes} minutes
of traffic, one block of evidence a minute, looked at as it comes; a run ends at its first stop. In the judge's latency
a failed request counts as the service timeout, a minute; its peers see it as it was. A row fails at {fails} of {runs:,}
runs, which a rule that errs in exactly 1 % reaches in 2.1 % of the rows.
{fewer}
| traffic | metric | runs | judge: false stops (95 %) | 1 % is | z-test, peeked | threshold, polled |
|---|---|---|---|---|---|---|
{table}
{faults}
The other rules of the judge that were on (gates, sample ratio, over-exposure, declared serving) stopped {others} of
{all_runs:,} runs. The guardrails' twins for a harm that begins later learn over 100,000 requests first, and are not in
play here.

The two on the right, on the same requests:

- *z-test, peeked each minute*: the usual one-sided test at 1 %, each request counted as independent, looked at each
  minute from 100 requests per arm on, stopped at the first significant result. Each further minute would add to it.
- *threshold, polled each minute*: the treatment's mean of a minute against control's of the same minute and 10 % more;
  stopped at the fourth failed minute (a failure limit of 3). It has the easier task: its margin is not 0.

Traffic:

{traffic}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rows", nargs="*", default=[row.key for row in ROWS], choices=[row.key for row in ROWS])
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "stoploss-calibration")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    chosen = parser.parse_args()
    chosen.keep.mkdir(parents=True, exist_ok=True)
    for row in (row for row in ROWS if row.key in chosen.rows):
        path = chosen.keep / f"{row.key}.json"
        for counts in counted(row, kept(path, chosen.seed), chosen.runs, chosen.jobs):
            path.write_text(json.dumps(asdict(counts)))
            print(f"{row.key}: {counts.runs:,} runs, {dict(counts.stops)}", flush=True)
    found = [(row, kept(chosen.keep / f"{row.key}.json", chosen.seed)) for row in ROWS]
    done = [(row, counts) for row, counts in found if counts.runs]
    chosen.output.write_text(document(done, f"python bench/calibration.py --runs {chosen.runs} --seed {chosen.seed}"))


if __name__ == "__main__":
    main()

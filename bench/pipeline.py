"""The whole path at the highest rate that it sustains: python -m bench.pipeline [--experiments 5 500] [--seconds 60]

producer → traces → intake → ledger → judge → journal, control; all of it → recorder → ClickHouse. A tenth of the traces
bring an output text of 300 bytes, which is scanned for personal data; every kind of rule judges. Broker, ClickHouse,
producer and all roles share this machine.

A rate is sustained when nobody is more than five seconds behind at the end of the window, nor two seconds more than at
its beginning, and the broker was given what was to be sent. It is looked for in short windows, first by doubling and
then between, and must then hold for --seconds; where it does not, nine tenths of it are tried. What a role costs is its
processor time in that window; then each role is sampled by py-spy, at the same rate.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench import spy
from bench.running import FOLLOWED, Running, Window, running
from bench.table import Table, heading, machine

BEHIND_S, GROWTH_S = 5.0, 2.0
FIRST_RATE, HIGHEST_RATE, BETWEEN = 5_000, 512_000, 2
SEARCH_S, PROFILE_S = 15.0, 10.0
GIVE_WAY, TRIES = 0.9, 8
GOAL = 100_000
PROFILED = ("intake", "judge", "recorder")
SHOWN = ("producer", "broker", "intake", "judge", "recorder", "clickhouse")


def sustained(window: Window) -> bool:
    """Whether what came was worked off as it came."""
    flat = all(after < BEHIND_S and after - before < GROWTH_S for before, after in window.behind_s.values())
    return flat and window.traces >= 0.97 * window.rate_per_s * window.seconds


def tried(one: Running, rate_per_s: int, seconds: float) -> Window:
    window = one.window(rate_per_s, seconds)
    behind = ", ".join(f"{role} {after:.1f} s" for role, (_, after) in window.behind_s.items())
    verdict = "sustained" if sustained(window) else "not sustained"
    came = f"{window.traces / window.seconds:,.0f} of {rate_per_s:,}/s"
    print(f"{came}: {verdict}; behind: {behind}; {window.cores:.2f} cores", file=sys.stderr, flush=True)
    one.drain()
    return window


def search(one: Running, first: int, seconds: float) -> int:
    """A rate that short windows sustain; half of the first where not even that is."""
    low, high = first // 2, first
    while high <= HIGHEST_RATE and sustained(tried(one, high, seconds)):
        low, high = high, high * 2
    for _ in range(BETWEEN):
        middle = (low + high) // 2
        low, high = (middle, high) if sustained(tried(one, middle, seconds)) else (low, middle)
    return low


def highest(one: Running, first: int, search_s: float, seconds: float) -> Window:
    """The window of the highest rate found that was sustained for as long as asked."""
    rate = search(one, first, search_s)
    for _ in range(TRIES):
        window = tried(one, rate, seconds)
        if sustained(window):
            one.require_running()
            return window
        rate = int(rate * GIVE_WAY)
    raise SystemExit(f"not even {rate:,} traces/s were sustained for {seconds:.0f} s")


def profiles(one: Running, rate_per_s: int, seconds: float) -> list[str]:
    """Of each role that is busy, one after the other."""
    lines = []
    with one.load(rate_per_s):
        for role in PROFILED:
            found = spy.profile(one.pids()[role][0], seconds)
            lines += [f"{role}, {found.samples:,} samples:", "", *found.lines(), ""]
    return lines


def of_rates(windows: dict[int, Window]) -> Table:
    behind_at_the_end = f"behind at the end: {', '.join(FOLLOWED)}"
    table = Table(("experiments", "traces/s", "sustained", "of the goal", behind_at_the_end, "cores"))
    for experiments, window in windows.items():
        behind = ", ".join(f"{window.behind_s[role][1]:.1f} s" for role in FOLLOWED)
        rate = window.traces / window.seconds
        held, share = "yes" if sustained(window) else "no", f"{100 * rate / GOAL:.0f} %"
        table.add(f"{experiments:,}", f"{rate:,.0f}", held, share, behind, f"{window.cores:.2f}")
    return table


def of_costs(windows: dict[int, Window]) -> Table:
    others = sorted({name for window in windows.values() for name in window.cpu_s} - set(SHOWN))
    table = Table(("experiments", *SHOWN, "others"))
    for experiments, window in windows.items():
        shown = [f"{window.micros_a_trace(name):.1f}" for name in SHOWN]
        table.add(f"{experiments:,}", *shown, f"{sum(map(window.micros_a_trace, others)):.1f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, nargs="+", default=[5, 500])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--search-seconds", type=float, default=SEARCH_S)
    parser.add_argument("--first", type=int, default=FIRST_RATE, help="traces a second to begin with")
    parser.add_argument("--rate", type=int, help="measure at this rate, sustained or not, and look for no other")
    parser.add_argument("--profile-seconds", type=float, default=PROFILE_S, help="for each role; 0: none")
    parser.add_argument("--inputs", type=Path, help="where to write what a trace costs, for bench/scaling_model.py")
    given = parser.parse_args()
    windows, said, stored_bytes = {}, [], 0.0
    for experiments in given.experiments:
        with tempfile.TemporaryDirectory() as home, running(Path(home), experiments) as one:
            windows[experiments] = (
                tried(one, given.rate, given.seconds)
                if given.rate
                else highest(one, given.first, given.search_seconds, given.seconds)
            )
            stored_bytes = stored_bytes or one.stored_bytes()
            if given.profile_seconds:
                said += [f"With {experiments:,} experiments, "]
                said[-1] += "\n".join(profiles(one, windows[experiments].rate_per_s, given.profile_seconds))
    heading(
        "The whole path",
        f"Producer, broker, every role and ClickHouse on the same cores, {given.seconds:.0f} s, at "
        f"{'a given rate' if given.rate else 'the highest rate that was sustained'}; goal: {GOAL:,} traces/s.",
        ("confluent-kafka", "aiokafka", "faust-streaming", "polars", "numpy", "chdb"),
    )
    print(of_rates(windows).markdown())
    print("\nMicroseconds of processor a trace:\n")
    print(of_costs(windows).markdown())
    print("\n" + "\n".join(said))
    if given.inputs:
        write_inputs(given.inputs, next(iter(windows.values())), stored_bytes)


def write_inputs(file: Path, window: Window, stored_bytes: float) -> None:
    """What bench/scaling_model.py computes with: of a trace, with the first number of experiments.

    Raises SystemExit where not all that came was worked off: nobody knows then what a trace costs.
    """
    if not sustained(window):
        raise SystemExit(
            f"{file} was not written: {window.rate_per_s:,} traces/s were not sustained; give a lower --rate"
        )
    bytes_a_trace = {
        name: round(size / window.traces, 1) for name, size in window.bytes.items() if size > window.traces
    }
    inputs = {
        "measured": f"{window.traces / window.seconds:,.0f} traces/s on {machine()}",
        "cpu_micros": {name: round(window.micros_a_trace(name), 2) for name in sorted(window.cpu_s)},
        "topic_bytes": bytes_a_trace,
        "stored_bytes": round(stored_bytes, 1),
    }
    file.write_text(json.dumps(inputs, indent=2) + "\n")


if __name__ == "__main__":
    main()

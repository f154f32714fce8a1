"""Runs faults and prints what became of them: exit code 1 where a demand is broken."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import KafkaException

from stoploss.errors import StoplossError
from tests.faults.fault import Fault, Ground, all_faults, ground
from tests.faults.measured import Measured, percentile

P95_S = 15.0
HEAD = f"{'fault':34} {'times':>5} {'lost':>5} {'doubled':>7} {'wrong':>5} {'median s':>8} {'p95 s':>6}"


def line(fault: Fault, found: Measured) -> str:
    median = statistics.median(found.recoveries_s) if found.recoveries_s else 0.0
    figures = f"{found.times:5} {found.lost:5} {found.doubled:7} {len(found.wrong):5}"
    name = f"{fault.number:2} {fault.name}"
    return f"{name:34} {figures} {median:8.1f} {percentile(found.recoveries_s, 0.95):6.1f}"


def broken(fault: Fault, found: Measured) -> list[str]:
    """Demands that do not hold."""
    faults = list(found.wrong)
    if found.lost or found.doubled:
        faults.append(f"{found.lost} lost, {found.doubled} doubled")
    if fault.kills and (p95 := percentile(found.recoveries_s, 0.95)) > P95_S:
        faults.append(f"95 % recover within {p95:.1f} s, demanded are {P95_S:.0f} s")
    return faults


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_one(fault: Fault, made: Ground) -> Measured:
    """A script that cannot be brought to its end is a broken demand, too; the others are still run."""
    try:
        made.broker.revive()
        return fault.run(made)
    except (StoplossError, KafkaException, AssertionError, RuntimeError, OSError, LookupError, ValueError) as error:
        traceback.print_exc()
        first_line = str(error).partition("\n")[0]
        return Measured(wrong=[f"{type(error).__name__}: {first_line[:300]}"])


def report(fault: Fault, found: Measured, took_s: float) -> None:
    say(line(fault, found) + f"   {took_s:.0f} s; {'; '.join(found.notes)}")
    for sentence in broken(fault, found):
        say(f"     BROKEN: {sentence}")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="names or numbers; none: all")
    parser.add_argument("--kills", type=int, default=200, help="of the fault that kills at random")
    parser.add_argument("--minutes", type=float, help="that a fault stands at most; without it as long as is demanded")
    parser.add_argument("--list", action="store_true", help="say what there is")
    told = parser.parse_args(arguments)
    faults = [f for f in all_faults() if not told.names or {f.name, str(f.number)} & set(told.names)]
    if told.list:
        for fault in faults:
            say(f"{fault.number:2} {fault.name}\n     done:  {fault.done}\n     holds: {fault.holds}")
        return 0
    home = Path(tempfile.mkdtemp(prefix="faults-"))
    say(HEAD)
    worst = 0
    with ground(home, kills=told.kills, minutes=told.minutes) as made:
        for fault in faults:
            began_s = time.monotonic()
            found = run_one(fault, made)
            report(fault, found, time.monotonic() - began_s)
            worst |= bool(broken(fault, found))
    if not worst:
        shutil.rmtree(home)
    return int(worst)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

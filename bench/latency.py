"""From the produce call of a harmful trace to the signed command in a controller's hands: `python bench/latency.py`.

Everything runs as `stoploss up` runs it: an embedded Kafka and ClickHouse, a process for each role, on this machine.
Beside the trials a load of background traces runs through an experiment with every kind of rule. A trial is one trace
with a payment card in its output text; the controller verifies the command and applies it, and the experiment is
resumed for the next trial. A broker that was started a moment ago still interprets its own code, and a transaction
takes twice as long in it: so a hundred trials come first that are not told.

    python bench/latency.py [--loads 0,1000,10000] [--trials 60]
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Producer

from bench.judge_fold import SPEC as EVERY_RULE
from bench.stages import STAGES, Trial, stages
from bench.table import Table, heading
from stoploss.cli import asking
from stoploss.cli.stack import Stack
from stoploss.commands import Action, Command
from stoploss.control.controller import Actuator, Controller
from stoploss.control.kafka_loop import ControlTopics, run_controller
from stoploss.control.position import PositionFile
from stoploss.emit.encoding import encode_trace
from stoploss.settings import Settings, load
from stoploss.signing import Verifier
from tests.timelines import spec

LOADS = (0, 1_000, 10_000, 50_000)
TRIALS, WARMING = 60, 100
GAPS_S, WARMING_GAPS_S = (0.2, 1.2), (0.03, 0.2)
WARM_S = 5.0
PATIENCE_S = 60.0
CARD = "Your card 4111 1111 1111 1111 is on file."
BUSY, HARMED = "busy", "harmed"
SEED = 3


@dataclass
class Hands:
    """What the controller does: it notes when it was told to stop what."""

    stops: queue.Queue[tuple[float, str]] = field(default_factory=queue.Queue)

    def apply(self, command: Command) -> None:
        if command.action == Action.STOP:
            self.stops.put((time.time() * 1_000, command.experiment))

    def stopped_at_ms(self) -> float:
        """Unix milliseconds of the next one."""
        at_ms, name = self.stops.get(timeout=PATIENCE_S)
        if name != HARMED:
            raise SystemExit(f"{name} was stopped, and would not be judged any more: that is not what is measured")
        return at_ms


@contextmanager
def listening(settings: Settings, hands: Actuator) -> Iterator[None]:
    """A controller of the SDK in a thread of its own."""
    stop, ready = threading.Event(), threading.Event()
    controller = Controller(
        name="bench",
        instance="1",
        actuator=hands,
        verifier=Verifier.load(settings.keys / "monitor.pub"),
        positions=PositionFile(settings.home / "position.json"),
    )
    names = settings.topics
    topics = ControlTopics(str(settings.need_kafka()), names("control"), names("acks"), names("registry"))
    thread = threading.Thread(target=run_controller, args=(controller, topics, stop), kwargs={"caught_up": ready})
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def background(settings: Settings, rate_per_s: int) -> Iterator[None]:
    """So many traces a second, from a process of their own."""
    if not rate_per_s:
        yield
        return
    job = {
        "bootstrap": str(settings.need_kafka()),
        "topic": settings.topics("traces"),
        "rate_per_s": rate_per_s,
        "experiments": [BUSY],
    }
    with subprocess.Popen(
        [sys.executable, "-m", "bench.load", json.dumps(job)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        try:
            time.sleep(WARM_S)
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE_S)


def harmful() -> bytes:
    return encode_trace(
        {
            "trace_id": uuid.uuid4().hex,
            "at": time.time_ns() // 1_000,
            "service": "bench",
            "unit_id": "u1",
            "latency_ms": 500.0,
            "output_text": CARD,
            "assignments": [{"experiment": HARMED, "variant": "small"}],
        }
    ).value


def trials(settings: Settings, hands: Hands, count: int, gaps_s: tuple[float, float] = GAPS_S) -> list[Trial]:
    chance, found = random.Random(SEED), []
    producer = Producer({"bootstrap.servers": str(settings.need_kafka()), "linger.ms": 0, "log_level": 0})
    stamps: list[float] = []
    for _ in range(count):
        time.sleep(chance.uniform(*gaps_s))
        produced_ms = time.time() * 1_000
        producer.produce(
            settings.topics("traces"), harmful(), on_delivery=lambda _, stored: stamps.append(stored.timestamp()[1])
        )
        producer.poll(0)
        obeyed_ms = hands.stopped_at_ms()
        producer.flush(PATIENCE_S)
        found.append(Trial(produced_ms, stamps[-1], obeyed_ms))
        asking.send(settings, asking.request_of("resume", HARMED, "the next trial"))
    return found


@contextmanager
def installed(home: Path) -> Iterator[Settings]:
    """All roles, and the two experiments running. What stands beside the trials may be silent between two loads."""
    with Stack(load(home=home), lambda line: None, controller=False) as stack:
        for name, text in (
            (BUSY, EVERY_RULE.replace("after: 2m", "after: 1h")),
            (HARMED, spec("gates: [pii_exposed]")),
        ):
            mine = text.replace("name: checkout", f"name: {name}").replace("flag: checkout", f"flag: {name}")
            asking.send(stack.settings, asking.request_of("register", name, "to be measured", spec=mine))
            asking.send(stack.settings, asking.request_of("start", name, "to be measured"))
        yield stack.settings


def main() -> None:
    asked = argparse.ArgumentParser(description="harm to command")
    asked.add_argument("--loads", default=",".join(map(str, LOADS)))
    asked.add_argument("--trials", type=int, default=TRIALS)
    asked.add_argument("--warming", type=int, default=WARMING, help="trials that come first and are not told")
    told = asked.parse_args()
    heading(
        "From a harmful trace to the command",
        f"From the produce call of a trace with a card number to the signed command in a controller's hands, beside so "
        f"many traces a second. {told.trials} trials a row, after {told.warming}. "
        "The last columns are medians of the way's parts, by the broker's stamps, to the millisecond. "
        "Goals: at 10,000/s 40 ms (p50) and 100 ms (p99), at 50,000/s 300 ms (p99).",
        ("confluent-kafka", "faust-streaming"),
    )
    hands, table = Hands(), Table(("traces/s beside it", "p50 ms", "p95 ms", "p99 ms", "worst ms", *STAGES))
    with tempfile.TemporaryDirectory() as home, installed(Path(home)) as settings, listening(settings, hands):
        trials(settings, hands, told.warming, WARMING_GAPS_S)
        for rate_per_s in map(int, told.loads.split(",")):
            with background(settings, rate_per_s):
                tried = trials(settings, hands, told.trials)
            found = sorted(trial.took_ms for trial in tried)
            cuts = statistics.quantiles(found, n=100, method="inclusive")
            shown = (cuts[49], cuts[94], cuts[98], found[-1], *stages(settings, HARMED, tried))
            table.add(f"{rate_per_s:,}", *(f"{ms:.0f}" for ms in shown))
            print(f"{rate_per_s:,}/s: {shown[0]:.0f} ms", file=sys.stderr, flush=True)
    print(table.markdown())


if __name__ == "__main__":
    main()

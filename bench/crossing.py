"""From the evidence that crosses a guardrail's limit to the command in a controller's hands: python -m bench.crossing

A trial is an experiment of its own whose treatment fails far more often than its control, and its traces come at a
steady rate until a command takes the treatment away. What is told is the time from the newest trace of the evidence
that the judge decided on to the command: everything before it is the statistics' doing, not the pipeline's. Beside the
trials a load of background traces runs through an experiment with every kind of rule.

    python -m bench.crossing [--loads 0 10000] [--trials 10]
"""

from __future__ import annotations

import argparse
import queue
import random
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Producer

from bench.latency import PATIENCE_S, background, installed, listening
from bench.load import VARIANTS, fields_of
from bench.table import Table, heading, spread
from stoploss import ledger
from stoploss.cli import asking
from stoploss.commands import Action, Command
from stoploss.emit.encoding import encode_trace
from stoploss.evidence import block_columns
from stoploss.journal import CommandIssued
from stoploss.ledger import EvidenceBlock
from stoploss.settings import Settings
from streams.reading import record_at
from tests.installation import journal_of
from tests.timelines import spec

GUARDRAIL = "guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.10}, alpha: 0.01}]"
FAILING = {"current": 0.02, "small": 0.3}
RATE_PER_S = 500
SLICE_S = 0.005
LOADS, TRIALS = (0, 10_000), 10


@dataclass
class Hands:
    """What the controller does: it notes which command came when."""

    taken_away: queue.Queue[tuple[float, Command]] = field(default_factory=queue.Queue)

    def apply(self, command: Command) -> None:
        if command.action in (Action.STOP, Action.ROLLBACK, Action.PAUSE):
            self.taken_away.put((time.time(), command))


@dataclass(frozen=True, slots=True)
class Crossing:
    """Milliseconds from the newest trace of the evidence, and from the broker's taking it, to the command; and how many
    traces had been sent."""

    from_trace_ms: float
    from_ledger_ms: float
    traces: int


@contextmanager
def failing(settings: Settings, experiment: str) -> Iterator[list[int]]:
    """Traces of the experiment come at a steady rate; how many have come."""
    stop, sent = threading.Event(), [0]

    def send() -> None:
        chance, began_s = random.Random(11), time.monotonic()
        producer = Producer({"bootstrap.servers": str(settings.need_kafka()), "linger.ms": 0, "log_level": 0})
        while not stop.wait(SLICE_S):
            due = int((time.monotonic() - began_s) * RATE_PER_S)
            for _ in range(sent[0], due):
                producer.produce(settings.topics("traces"), trace_of(chance, experiment))
            sent[0] = max(sent[0], due)
            producer.poll(0)
        producer.flush()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def trace_of(chance: random.Random, experiment: str) -> bytes:
    variant = chance.choice(VARIANTS)
    fields = fields_of(chance, experiment, text_share=0.1)
    failed = "timeout" if chance.random() < FAILING[variant] else None
    own = {"trace_id": uuid.uuid4().hex, "at": time.time_ns() // 1_000, "error_type": failed}
    return encode_trace({**fields, **own, "assignments": [{"experiment": experiment, "variant": variant}]}).value


def crossing(settings: Settings, hands: Hands, experiment: str) -> Crossing:
    text = (
        spec(GUARDRAIL)
        .replace("name: checkout", f"name: {experiment}")
        .replace("flag: checkout", f"flag: {experiment}")
    )
    asking.send(settings, asking.request_of("register", experiment, "to be measured", spec=text))
    asking.send(settings, asking.request_of("start", experiment, "to be measured"))
    with failing(settings, experiment) as sent:
        at_s, command = hands.taken_away.get(timeout=PATIENCE_S)
        traces = sent[0]
    if command.experiment != experiment:
        raise SystemExit(f"a command for {command.experiment} came: {command.reason}")
    newest_s, taken_s = decided_on(settings, command)
    return Crossing((at_s - newest_s) * 1_000, (at_s - taken_s) * 1_000, traces)


def decided_on(settings: Settings, command: Command) -> tuple[float, float]:
    """When the newest trace of the evidence was sent, and when the broker took the evidence; seconds since 1970."""
    [entry] = [
        entry
        for entry in journal_of(settings, command.experiment)
        if isinstance(entry.conclusion, CommandIssued) and entry.conclusion.command_id == command.command_id
    ]
    place = (settings.topics("ledger"), entry.ledger_partition, entry.ledger_offset)
    message = record_at(str(settings.need_kafka()), *place)
    fact = None if message is None else ledger.decode(message.value())
    if message is None or not isinstance(fact, EvidenceBlock):
        raise SystemExit(f"{command.experiment} was decided on at {place}, where no evidence stands: {fact}")
    return int(block_columns(fact).at.max()) / 1e6, message.timestamp()[1] / 1e3


def row(found: Sequence[Crossing]) -> tuple[str, ...]:
    milliseconds = sorted(one.from_trace_ms for one in found)
    p95 = statistics.quantiles(milliseconds, n=20, method="inclusive")[18]
    return (
        spread(milliseconds),
        f"{p95:,.0f}",
        spread([one.from_ledger_ms for one in found]),
        spread([one.traces for one in found]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, nargs="+", default=LOADS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    given = parser.parse_args()
    shares = f"{FAILING['small']:.0%} of the treatment's and {FAILING['current']:.0%} of the control's requests fail"
    heading(
        "From the evidence that crosses a limit to the command",
        f"{shares}, at {RATE_PER_S} traces/s; median (least–most) of {given.trials} trials.",
        ("confluent-kafka", "faust-streaming"),
    )
    columns = ("traces/s beside it", "ms from its newest trace", "p95", "ms from the ledger", "traces until then")
    table = Table(columns)
    with tempfile.TemporaryDirectory() as home, installed(Path(home)) as settings:
        hands = Hands()
        with listening(settings, hands):
            crossing(settings, hands, "crossing-warm")
            for load in given.loads:
                with background(settings, load):
                    found = [crossing(settings, hands, f"crossing-{load}-{n}") for n in range(given.trials)]
                table.add(f"{load:,}", *row(found))
    print(table.markdown())


if __name__ == "__main__":
    main()

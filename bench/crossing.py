"""From the evidence that crosses a rule's limit to the command in a controller's hands: python -m bench.crossing

A trial is an experiment of its own that does what its one rule forbids: its treatment fails far more often than its
control, or spends too fast. Its traces come at a steady rate until a command takes the treatment away. What is told is
the time to the command from the newest trace that stood in the ledger when the judge decided: what is before it is the
statistics' doing, not the pipeline's. Beside the trials a load of background traces runs through an experiment with
every kind of rule.

    python -m bench.crossing [--loads 0 10000] [--trials 10] [--rules guardrail budget]
"""

from __future__ import annotations

import argparse
import itertools
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
from streams.reading import whole
from tests.installation import journal_of
from tests.timelines import spec

RATE_PER_S = 500
SLICE_S = 0.005
LOADS, TRIALS = (0, 10_000), 10


@dataclass(frozen=True, slots=True)
class Case:
    """A rule, and traffic that crosses its limit.

    text     the part of the spec that has it
    failing  share of the treatment's requests that fail; of the control's: 2 %
    """

    text: str
    failing: float = 0.02


CASES = {
    "guardrail": Case(
        "guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.10}, alpha: 0.01}]", 0.3
    ),
    "budget": Case("budgets: [{metric: cost_usd, limit: 5, period: 24h, actions: [{burn: 14.4, do: pause}]}]"),
}
HEALTHY = 0.02


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
def sending(settings: Settings, experiment: str, case: Case) -> Iterator[list[int]]:
    """Traces of the experiment come at a steady rate; how many have come."""
    stop, sent = threading.Event(), [0]

    def send() -> None:
        chance, began_s = random.Random(11), time.monotonic()
        producer = Producer({"bootstrap.servers": str(settings.need_kafka()), "linger.ms": 0, "log_level": 0})
        while not stop.wait(SLICE_S):
            due = int((time.monotonic() - began_s) * RATE_PER_S)
            for _ in range(sent[0], due):
                producer.produce(settings.topics("traces"), trace_of(chance, experiment, case))
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


def trace_of(chance: random.Random, experiment: str, case: Case) -> bytes:
    variant = chance.choice(VARIANTS)
    rate = case.failing if variant == VARIANTS[1] else HEALTHY
    fields = fields_of(chance, experiment, text_share=0.1)
    failed = "timeout" if chance.random() < rate else None
    own = {"trace_id": uuid.uuid4().hex, "at": time.time_ns() // 1_000, "error_type": failed}
    return encode_trace({**fields, **own, "assignments": [{"experiment": experiment, "variant": variant}]}).value


def crossing(settings: Settings, hands: Hands, experiment: str, case: Case) -> Crossing:
    text = (
        spec(case.text)
        .replace("name: checkout", f"name: {experiment}")
        .replace("flag: checkout", f"flag: {experiment}")
    )
    began_ms = int(time.time() * 1_000)
    asking.send(settings, asking.request_of("register", experiment, "to be measured", spec=text))
    asking.send(settings, asking.request_of("start", experiment, "to be measured"))
    with sending(settings, experiment, case) as sent:
        at_s, command = hands.taken_away.get(timeout=PATIENCE_S)
        traces = sent[0]
    if command.experiment != experiment:
        raise SystemExit(f"a command for {command.experiment} came: {command.reason}")
    newest_s, taken_s = decided_on(settings, command, began_ms)
    return Crossing((at_s - newest_s) * 1_000, (at_s - taken_s) * 1_000, traces)


def decided_on(settings: Settings, command: Command, since_ms: int) -> tuple[float, float]:
    """When the newest trace was sent that stood in the ledger at the decision, and when the broker took it there;
    seconds since 1970."""
    [entry] = [
        entry
        for entry in journal_of(settings, command.experiment)
        if isinstance(entry.conclusion, CommandIssued) and entry.conclusion.command_id == command.command_id
    ]
    records = whole(str(settings.need_kafka()), settings.topics("ledger"), entry.ledger_partition, since_ms=since_ms)
    newest: tuple[float, float] | None = None
    for message in records:
        if (message.offset() or 0) > entry.ledger_offset:
            break
        fact = ledger.decode(message.value()) if message.key() == command.experiment.encode() else None
        if isinstance(fact, EvidenceBlock):
            newest = int(block_columns(fact).at.max()) / 1e6, message.timestamp()[1] / 1e3
    if newest is None:
        raise SystemExit(f"{command.experiment} was decided on before any evidence: {command.reason}")
    return newest


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
    parser.add_argument("--rules", nargs="+", choices=CASES, default=list(CASES))
    given = parser.parse_args()
    heading(
        "From the evidence that crosses a limit to the command",
        f"{RATE_PER_S} traces/s of an experiment that crosses it; median (least–most) of {given.trials} trials.",
        ("confluent-kafka", "faust-streaming"),
    )
    columns = (
        "rule",
        "traces/s beside it",
        "ms from its newest trace",
        "p95",
        "ms from the ledger",
        "traces until then",
    )
    table = Table(columns)
    with tempfile.TemporaryDirectory() as home, installed(Path(home)) as settings:
        hands = Hands()
        with listening(settings, hands):
            crossing(settings, hands, "crossing-warm", CASES["guardrail"])
            for rule, load in itertools.product(given.rules, given.loads):
                with background(settings, load):
                    found = [
                        crossing(settings, hands, f"crossing-{rule}-{load}-{n}", CASES[rule])
                        for n in range(given.trials)
                    ]
                table.add(rule, f"{load:,}", *row(found))
    print(table.markdown())


if __name__ == "__main__":
    main()

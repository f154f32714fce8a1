"""The service of the faults, as a process: sends traces by the flags of the moment and writes down what it sent.

    python -m tests.faults.sender '{"bootstrap": …}'

A line of its log is one record that the broker has acknowledged: trace id, partition, offset, and what it is, which is
`evidence`, `unassigned` (whole, and of no experiment) or `bad`; of a trace's later outcome it is `outcome`, or `bare`
where that names its trace alone. It is told what to do on its standard input, a line
each, and answers on its output:

    harm          from here on the treatment of the harmed experiment fails often
    leak          one trace of that treatment that trips a gate; answers when it is acknowledged
    burst N       N traces at once, each with a tenant of its own
    bad SHARE     so large a share of what follows is cut off
    end           stops, and answers when everything is acknowledged
"""

from __future__ import annotations

import json
import queue
import random
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from confluent_kafka import KafkaError, Message, Producer

from stoploss.emit.assignment import Assignment
from stoploss.emit.context import Context, to_token
from stoploss.emit.encoding import encode_outcome, encode_trace
from stoploss.flags import FlagReader
from stoploss.simulate.assign import Assigned

TREATMENT = "small"
CONTROL = "current"
EVIDENCE, UNASSIGNED, BAD = "evidence", "unassigned", "bad"
OUTCOME, BARE = "outcome", "bare"
USERS = 5_000
FAILS, FAILS_HARMED = 0.02, 0.45
TWO_HOURS_S = 7_200
LATEST = 60
"""Traces that one out of order may be held back behind."""
BARE_BEHIND = 300
"""Traces that a bare outcome comes behind its own: by then that is stored, as long as the recorder works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What it is told at its start.

    experiments   all of them get each trace; the first one is the harmed one
    bad           share of traces that are cut off; unassigned: share that take part in no experiment
    out_of_order, two_hours_late, twice  shares of traces that come later than they should, or a second time
    foreign       share of records in a registry's framing with an id that nobody knows
    shift_s       added to the clock that the traces are stamped with
    outcomes      share of traces that an outcome follows, with their context; bare: without any, a while later
    outcomes_topic  where these go
    """

    bootstrap: str
    topic: str
    flag_file: str
    log: str
    experiments: list[str]
    seed: int = 11
    rate_per_s: float = 60.0
    bad: float = 0.02
    unassigned: float = 0.015
    out_of_order: float = 0.0
    two_hours_late: float = 0.0
    twice: float = 0.0
    foreign: float = 0.0
    shift_s: float = 0.0
    outcomes: float = 0.0
    bare: float = 0.0
    outcomes_topic: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """A record that is held back until so many traces were sent."""

    number: int
    trace_id: str
    value: bytes
    kind: str


@dataclass
class Sender:
    job: Job
    flags: FlagReader
    log: TextIO
    harmed: bool = False
    bad: float = 0.0
    number: int = 0
    held_back: list[Later] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.job.seed)
        self.bad = self.job.bad
        self.name = uuid.uuid4().hex[:8]
        self.producer = Producer(
            {
                "bootstrap.servers": self.job.bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": 0,
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 0,
            }
        )

    # ---- what is sent --------------------------------------------------------------------------

    def send_one(self) -> None:
        """The next trace: most are whole, a few are what real services send, too."""
        self.number += 1
        for due in [one for one in self.held_back if one.number <= self.number]:
            self.held_back.remove(due)
            self._produce(due.trace_id, due.value, kind=due.kind)
        unassigned = self.chance.random() < self.job.unassigned
        fields = self._trace(f"u{self.chance.randrange(USERS)}", **({"assignments": []} if unassigned else {}))
        value = encode_trace(fields).value
        if self.chance.random() < self.bad:
            self._produce(fields["trace_id"], value[: -1 - self.chance.randrange(20)], kind=BAD)
        elif self.chance.random() < self.job.foreign:
            self._produce(fields["trace_id"], b"\0" + (4_711).to_bytes(4, "big") + value[10:], kind=BAD)
        elif self.chance.random() < self.job.out_of_order and not unassigned:
            self._hold_back(self.chance.randrange(1, LATEST), fields["trace_id"], value, EVIDENCE)
        else:
            for _ in range(1 + (self.chance.random() < self.job.twice)):
                self._produce(fields["trace_id"], value, kind=UNASSIGNED if unassigned else EVIDENCE)
            if not unassigned:
                self._follow(fields)

    def _follow(self, fields: dict[str, Any]) -> None:
        """Whether the request was of use, as a business system learns it."""
        said, trace_id = self.chance.random(), fields["trace_id"]
        if said < self.job.outcomes:
            assigned = tuple(Assignment(**one) for one in fields["assignments"])
            self._produce(trace_id, _outcome(Context(trace_id, fields["unit_id"], assigned)), kind=OUTCOME)
        elif said < self.job.outcomes + self.job.bare:
            self._hold_back(BARE_BEHIND, trace_id, _outcome(Context(trace_id)), BARE)

    def _hold_back(self, traces: int, trace_id: str, value: bytes, kind: str) -> None:
        self.held_back.append(Later(self.number + traces, trace_id, value, kind))

    def leak(self) -> None:
        """Raises LookupError where nobody gets the treatment any more."""
        self.number += 1
        users = (f"u{number}" for number in range(USERS))
        unit = next((user for user in users if self._assigned(0, user).variant == TREATMENT), None)
        if unit is None:
            raise LookupError("nobody gets the treatment: there is nothing to leak from")
        fields = self._trace(unit, guardrail_bypassed=True)
        self._produce(fields["trace_id"], encode_trace(fields).value, kind=EVIDENCE)
        self.producer.flush()

    def burst(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            fields = self._trace(f"u{self.chance.randrange(USERS)}", tenant=f"tenant-{self.number}")
            self._produce(fields["trace_id"], encode_trace(fields).value, kind=EVIDENCE)

    def _trace(self, unit: str, **more: Any) -> dict[str, Any]:
        late_s = TWO_HOURS_S if self.chance.random() < self.job.two_hours_late else 0
        assigned = [self._assigned(place, unit) for place in range(len(self.job.experiments))]
        treated = assigned[0].variant == TREATMENT
        fails = self.chance.random() < (FAILS_HARMED if self.harmed and treated else FAILS)
        fields = {
            "trace_id": f"{self.name}-{self.number}",
            "at": time.time_ns() // 1_000 + round((self.job.shift_s - late_s) * 1e6),
            "service": "faults",
            "unit_id": unit,
            "tenant": f"tenant-{self.chance.randrange(5)}",
            "latency_ms": self.chance.lognormvariate(6.5, 0.4),
            "error_type": "timeout" if fails else None,
            "input_tokens": 200,
            "output_tokens": 100,
            "assignments": [_assignment(*one) for one in zip(self.job.experiments, assigned, strict=True)],
        }
        return {**fields, **more}

    def _assigned(self, place: int, unit: str) -> Assigned:
        return self.flags.assign(self.job.experiments[place], CONTROL, unit)

    def _produce(self, trace_id: str, value: bytes, *, kind: str) -> None:
        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                raise RuntimeError(f"{trace_id} was not taken: {error.str()}")
            self.log.write(f"{trace_id} {message.partition()} {message.offset()} {kind}\n")

        topic = self.job.outcomes_topic if kind in (OUTCOME, BARE) else self.job.topic
        self.producer.produce(topic, value, trace_id.encode(), on_delivery=report)
        self.producer.poll(0)

    # ---- when ----------------------------------------------------------------------------------

    def run(self, told: queue.Queue[str]) -> None:
        due_s = time.monotonic()
        while True:
            try:
                words = told.get(timeout=max(0.0, due_s - time.monotonic())).split()
            except queue.Empty:
                self.send_one()
                due_s = max(due_s + self.chance.expovariate(self.job.rate_per_s), time.monotonic() - 1)
                continue
            if not words or words[0] == "end":
                break
            self._do(words)
            answer("done")
        self._end()

    def _do(self, words: list[str]) -> None:
        match words:
            case ["harm"]:
                self.harmed = True
            case ["leak"]:
                self.leak()
            case ["burst", count]:
                self.burst(int(count))
            case ["bad", share]:
                self.bad = float(share)
            case _:
                raise ValueError(f"told to do {words}")

    def _end(self) -> None:
        """A bare outcome that is not due yet was never said."""
        for one in self.held_back:
            if one.kind != BARE:
                self._produce(one.trace_id, one.value, kind=one.kind)
        while self.producer.flush(1):
            pass
        self.log.flush()
        answer("ended")


def _assignment(experiment: str, assigned: Assigned) -> dict[str, Any]:
    stamp = {"run": assigned.run, "epoch": assigned.epoch}
    return {"experiment": experiment, "variant": assigned.variant, "consent": None, **stamp}


def _outcome(context: Context) -> bytes:
    said = {"at": time.time_ns() // 1_000, "kind": "business", "name": "resolved", "value": 1.0, "source": "system"}
    return encode_outcome({**said, "context": to_token(context)}).value


def answer(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def listen(told: queue.Queue[str]) -> None:
    """Ends the traffic, too, when whoever started this process is gone."""
    for line in sys.stdin:
        told.put(line)
    told.put("end")


def main(job: Job) -> None:
    told: queue.Queue[str] = queue.Queue()
    threading.Thread(target=listen, args=[told], daemon=True).start()
    flags = FlagReader(Path(job.flag_file))
    with Path(job.log).open("w", buffering=1) as log:
        answer("ready")
        Sender(job, flags, log).run(told)
    flags.close()


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))

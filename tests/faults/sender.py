"""The service of the faults, as a process: sends traces by the flags of the moment and writes down what it sent.

    python -m tests.faults.sender '{"bootstrap": …}'

A line of its log is one record that the broker has acknowledged: trace id, partition, offset, and what it is, which is
`evidence`, `unassigned` (whole, and of no experiment) or `bad`. It is told what to do on its standard input, a line
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

from stoploss.emit.encoding import encode_trace
from stoploss.flags import FlagReader
from stoploss.simulate.assign import Assigned

TREATMENT = "small"
CONTROL = "current"
EVIDENCE, UNASSIGNED, BAD = "evidence", "unassigned", "bad"
USERS = 5_000
FAILS, FAILS_HARMED = 0.02, 0.45
TWO_HOURS_S = 7_200
LATEST = 60
"""Traces that one out of order may be held back behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What it is told at its start.

    experiments   all of them get each trace; the first one is the harmed one
    bad           share of traces that are cut off; unassigned: share that take part in no experiment
    out_of_order, two_hours_late, twice  shares of traces that come later than they should, or a second time
    foreign       share of records in a registry's framing with an id that nobody knows
    shift_s       added to the clock that the traces are stamped with
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


@dataclass
class Sender:
    job: Job
    flags: FlagReader
    log: TextIO
    harmed: bool = False
    bad: float = 0.0
    number: int = 0
    held_back: list[tuple[int, bytes, str]] = field(default_factory=list)

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
        for due in [one for one in self.held_back if one[0] <= self.number]:
            self.held_back.remove(due)
            self._produce(due[2], due[1], kind=EVIDENCE)
        unassigned = self.chance.random() < self.job.unassigned
        fields = self._trace(f"u{self.chance.randrange(USERS)}", **({"assignments": []} if unassigned else {}))
        value = encode_trace(fields).value
        if self.chance.random() < self.bad:
            self._produce(fields["trace_id"], value[: -1 - self.chance.randrange(20)], kind=BAD)
        elif self.chance.random() < self.job.foreign:
            self._produce(fields["trace_id"], b"\0" + (4_711).to_bytes(4, "big") + value[10:], kind=BAD)
        elif self.chance.random() < self.job.out_of_order and not unassigned:
            self.held_back.append((self.number + self.chance.randrange(1, LATEST), value, fields["trace_id"]))
        else:
            for _ in range(1 + (self.chance.random() < self.job.twice)):
                self._produce(fields["trace_id"], value, kind=UNASSIGNED if unassigned else EVIDENCE)

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

        self.producer.produce(self.job.topic, value, trace_id.encode(), on_delivery=report)
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
        for _, value, trace_id in self.held_back:
            self._produce(trace_id, value, kind=EVIDENCE)
        while self.producer.flush(1):
            pass
        self.log.flush()
        answer("ended")


def _assignment(experiment: str, assigned: Assigned) -> dict[str, Any]:
    stamp = {"run": assigned.run, "epoch": assigned.epoch}
    return {"experiment": experiment, "variant": assigned.variant, "consent": None, **stamp}


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

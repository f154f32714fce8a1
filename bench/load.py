"""Background traffic, as a process: so many traces a second of some experiments, by the hour's own clock.

    python -m bench.load '{"bootstrap": "127.0.0.1:9092", "topic": "stoploss.traces", "rate_per_s": 10000, …}'

Traces differ in id, time, unit, variant and segments. Each is a template into which its id and its time are laid, for a
generator in Python would otherwise be what is measured. It stops when its standard input is closed, and says how many
it has sent.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Producer

from stoploss.emit.encoding import encode_trace

SLICE_S = 0.005
TEMPLATES = 2_000
ID_PLACE = "0" * 32
USERS = 40_000
TENANTS, LANGUAGES, CHANNELS = 20, 5, 3
VARIANTS = ("current", "small")
SENTENCE = "The parcel left the warehouse on Monday and reaches you within two working days. "


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    experiments   names; each trace takes part in one of them
    rate_per_s    traces
    text_share    of the traces that bring an output text of 300 bytes, which is scanned for personal data
    """

    bootstrap: str
    topic: str
    rate_per_s: float
    experiments: Sequence[str]
    text_share: float = 0.1
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Template:
    """An encoded trace without its id and its time."""

    head: bytes
    tail: bytes

    @classmethod
    def of(cls, fields: dict[str, object]) -> Template:
        at = 1_790_000_000_000_000
        value = encode_trace({**fields, "trace_id": ID_PLACE, "at": at}).value
        head, found, rest = value.partition(ID_PLACE.encode())
        assert found
        assert rest.startswith(varint(at))
        return cls(head, rest[len(varint(at)) :])


def varint(number: int) -> bytes:
    """A positive number as Avro writes a long."""
    left, parts = number << 1, bytearray()
    while left > 0x7F:
        parts.append(left & 0x7F | 0x80)
        left >>= 7
    parts.append(left)
    return bytes(parts)


def fields_of(chance: random.Random, experiment: str, text_share: float) -> dict[str, object]:
    """What a healthy service says of one request."""
    fields: dict[str, object] = {
        "service": "bench",
        "unit_id": f"u{chance.randrange(USERS)}",
        "tenant": f"tenant-{chance.randrange(TENANTS):02}",
        "language": f"language-{chance.randrange(LANGUAGES)}",
        "channel": f"channel-{chance.randrange(CHANNELS)}",
        "latency_ms": chance.lognormvariate(6.5, 0.4),
        "input_tokens": chance.randrange(100, 3_000),
        "output_tokens": chance.randrange(20, 600),
        "cost_usd": chance.uniform(0.001, 0.01),
        "error_type": "timeout" if chance.random() < 0.02 else None,
        "assignments": [{"experiment": experiment, "variant": chance.choice(VARIANTS)}],
    }
    return {**fields, "output_text": (SENTENCE * 4)[:300]} if chance.random() < text_share else fields


def send(job: Job, stop: threading.Event) -> int:
    """Sends until it is told to stop; the number of traces. What comes late is made good in the next slices."""
    chance = random.Random(job.seed)
    templates = [
        Template.of(fields_of(chance, chance.choice(job.experiments), job.text_share)) for _ in range(TEMPLATES)
    ]
    producer = Producer(
        {
            "bootstrap.servers": job.bootstrap,
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 1_000_000,
        }
    )
    prefix, sent, began_s = uuid.uuid4().hex[:16], 0, time.monotonic()
    while not stop.is_set():
        due = int((time.monotonic() - began_s) * job.rate_per_s)
        at = varint(time.time_ns() // 1_000)
        for number in range(sent, due):
            template = templates[number % TEMPLATES]
            value = template.head + f"{prefix}{number:016}".encode() + at + template.tail
            producer.produce(job.topic, value, os.urandom(8))
        sent = max(sent, due)
        producer.poll(0)
        stop.wait(SLICE_S)
    producer.flush()
    return sent


def main() -> None:
    stop = threading.Event()
    job = Job(**json.loads(sys.argv[1]))

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    print(send(job, stop), flush=True)


if __name__ == "__main__":
    main()

"""Background traffic, as a process: so many traces a second of some experiments, by the hour's own clock.

    python -m bench.load '{"bootstrap": "127.0.0.1:9092", "topic": "stoploss.traces", "rate_per_s": 10000, …}'

Traces differ in id, time, unit, latency, variant and segments. Each is a template into which id, time, unit and latency
are laid, for a generator in Python would otherwise be what is measured. A unit has one template, so one variant. There
are so many units that few come more than ten times a day: what comes oftener is counted in few statistics, and would be
judged for next to nothing. It stops when its standard input is closed, and says how many it has sent.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Producer

from stoploss.emit.encoding import encode_trace

SLICE_S = 0.005
TEMPLATES = 2_000
UNITS_EACH = 1_000
"""Of a template: two million users in all."""
ID_PLACE, UNIT_PLACE, LATENCY_PLACE = "0" * 32, "u0123456", 1234.5678
AT_PLACE = 1_790_000_000_000_000
LATENCIES = 1 << 16
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
    """An encoded trace, cut where its id, time, unit and latency stand."""

    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, fields: dict[str, object]) -> Template:
        own = {"trace_id": ID_PLACE, "at": AT_PLACE, "unit_id": UNIT_PLACE, "latency_ms": LATENCY_PLACE}
        rest, pieces = encode_trace({**fields, **own}).value, []
        for place in (ID_PLACE.encode(), varint(AT_PLACE), UNIT_PLACE.encode(), double(LATENCY_PLACE)):
            head, found, rest = rest.partition(place)
            assert found
            pieces.append(head)
        return cls((*pieces, rest))

    def filled(self, trace_id: bytes, at: bytes, unit: bytes, latency: bytes) -> bytes:
        head, before_at, before_unit, before_latency, tail = self.pieces
        return b"".join((head, trace_id, before_at, at, before_unit, unit, before_latency, latency, tail))


def double(number: float) -> bytes:
    return struct.pack("<d", number)


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
        "unit_id": f"u{chance.randrange(TEMPLATES * UNITS_EACH):07}",
        "tenant": f"tenant-{chance.randrange(TENANTS):02}",
        "language": f"language-{chance.randrange(LANGUAGES)}",
        "channel": f"channel-{chance.randrange(CHANNELS)}",
        "latency_ms": latency_ms(chance),
        "input_tokens": chance.randrange(100, 3_000),
        "output_tokens": chance.randrange(20, 600),
        "cost_usd": chance.uniform(0.001, 0.01),
        "error_type": "timeout" if chance.random() < 0.02 else None,
        "assignments": [{"experiment": experiment, "variant": chance.choice(VARIANTS)}],
    }
    return {**fields, "output_text": (SENTENCE * 4)[:300]} if chance.random() < text_share else fields


def latency_ms(chance: random.Random) -> float:
    return chance.lognormvariate(6.5, 0.4)


def templates_of(job: Job, chance: random.Random) -> list[Template]:
    """Each stands there once for either variant, so that the arms are alike: a rule would find any difference."""
    served = [fields_of(chance, name, job.text_share) for name in _in_turn(job.experiments, TEMPLATES // len(VARIANTS))]
    return [Template.of({**fields, **_assigned(fields, variant)}) for fields in served for variant in VARIANTS]


def _in_turn(names: Sequence[str], count: int) -> Iterator[str]:
    return itertools.islice(itertools.cycle(names), count)


def _assigned(fields: dict[str, object], variant: str) -> dict[str, object]:
    [assignment] = cast(list[dict[str, str]], fields["assignments"])
    return {"assignments": [{**assignment, "variant": variant}]}


def send(job: Job, stop: threading.Event) -> int:
    """Sends until it is told to stop; the number of traces. What comes late is made good in the next slices."""
    chance = random.Random(job.seed)
    templates = templates_of(job, chance)
    latencies = [double(latency_ms(chance)) for _ in range(LATENCIES)]
    producer = Producer(
        {
            "bootstrap.servers": job.bootstrap,
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 1_000_000,
        }
    )
    sent, began_s = 0, time.monotonic()
    while not stop.is_set():
        due = int((time.monotonic() - began_s) * job.rate_per_s)
        at = varint(time.time_ns() // 1_000)
        for number in range(sent, due):
            trace_id = os.urandom(16).hex().encode()
            unit = b"u%07d" % (number % TEMPLATES * UNITS_EACH + chance.getrandbits(30) % UNITS_EACH)
            latency = latencies[chance.getrandbits(16)]
            producer.produce(job.topic, templates[number % TEMPLATES].filled(trace_id, at, unit, latency), trace_id)
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

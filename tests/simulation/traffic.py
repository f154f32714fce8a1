"""What services send and people ask, and an intake small enough to be run a hundred thousand times.

The small intake stands where `process_traces` does: Feeder takes it as an argument. A record is a line of text; what
comes out is what the real one gives for such a trace, without the scan of its texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from stoploss.evidence import PACKED, TREATMENT
from stoploss.intake.results import Counts, IntakeResult, RawRecord, Reject
from stoploss.intake.rows import ProjectedRows
from stoploss.intake.watched import Watched
from stoploss.ledger import Source

NOTHING = pl.DataFrame()
LEAK = "output_text holds a card number"
CONTROLLERS = ("left", "right")

SPEC = """
apiVersion: stoploss/v1alpha1
kind: Experiment
metadata: {{name: {name}, owner: simulation}}
spec:
  hypothesis: Whatever happens, nothing is lost.
  unit: model
  success: {{metric: resolved}}
  assignment: {{flag: {name}, randomisationUnit: user, control: current, controllers: [{controllers}]}}
  variants:
    - {{name: current}}
    - {{name: small}}
  rollback: {{to: current}}
  ramp: {ramp}
  windows: [{{days: Mon-Sun, from: "00:00", to: "00:00"}}]
  health: {{sampleRatio: off, rejects: off, blind: {{hold: 24h, then: none}}}}
"""


AT_ONCE = "{stages: [0.5]}"
STEP_BY_STEP = "{stages: [0.1, 0.3, 0.5], minDuration: 1s, minUnits: 0, autoAdvance: true}"


@cache
def spec_of(name: str, controllers: tuple[str, ...], climbs: bool) -> str:
    """climbs: the ramp goes on by itself; else it has one stage."""
    return SPEC.format(name=name, controllers=", ".join(controllers), ramp=STEP_BY_STEP if climbs else AT_ONCE)


@dataclass(frozen=True, slots=True)
class Trace:
    """One request of a user: who served it, and whether it did harm."""

    experiment: str
    trace: str
    unit: str
    arm: int
    harms: bool
    at: int

    def encode(self) -> bytes:
        return f"{self.experiment} {self.trace} {self.unit} {self.arm} {int(self.harms)} {self.at}".encode()

    @classmethod
    def decode(cls, value: bytes | None) -> Trace:
        """Raises ValueError where it is no trace."""
        experiment, trace, unit, arm, harms, at = (value or b"").decode().split(" ")
        return cls(experiment, trace, unit, int(arm), harms == "1", int(at))


@dataclass(frozen=True, slots=True)
class Line:
    """What the canary's sender takes of an encoded trace."""

    value: bytes


def small_canary(fields: Mapping[str, Any]) -> Line:
    """As emit.encoding.encode_trace, for the canary."""
    canary = fields["assignments"][0].experiment
    return Line(Trace(canary, fields["trace_id"], "canary", 0, False, fields["at"]).encode())


def hash_of(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def small_intake(
    records: Sequence[RawRecord],
    source: Source,
    watched: Mapping[str, Watched],
    *,
    salt: bytes,
    now_micros: int,
    **_: object,
) -> IntakeResult:
    """As intake.pipeline.process_traces, for lines of text."""
    read: dict[str, list[tuple[int, Trace]]] = {}
    rejects = []
    unknown: dict[str, int] = {}
    for record in records:
        try:
            trace = Trace.decode(record.value)
        except ValueError as error:
            rejects.append(Reject(record.offset, "malformed", str(error), record.value or b"", record.timestamp_ms))
            continue
        if trace.experiment in watched:
            read.setdefault(trace.experiment, []).append((record.offset, trace))
        else:
            unknown[trace.experiment] = unknown.get(trace.experiment, 0) + 1
    rows = {name: _rows(watched[name], source, mine) for name, mine in read.items()}
    counts = Counts(len(records) - len(rejects), len(rejects), 0, 0, unknown)
    return IntakeResult(rows, NOTHING, rejects, counts, any(part.gate_details for part in rows.values()))


def _rows(watched: Watched, source: Source, read: Sequence[tuple[int, Trace]]) -> ProjectedRows:
    traces = [trace for _, trace in read]
    values: dict[str, Sequence[int]] = {
        "source": [0] * len(read),
        "offset": [offset for offset, _ in read],
        "unit": [hash_of(trace.unit) for trace in traces],
        "trace": [hash_of(trace.trace) for trace in traces],
        "variant": [trace.arm for trace in traces],
        "at": [trace.at for trace in traces],
        "start": [trace.at - 1_000 for trace in traces],
        "stamp_run": [-1] * len(read),
        "stamp_epoch": [-1] * len(read),
        "gates": [int(trace.harms) for trace in traces],
    }
    return ProjectedRows(
        watched.name,
        watched.spec_hash,
        outcomes=False,
        sources=(source,),
        gate_names=watched.gates,
        gate_details=tuple(LEAK for trace in traces if trace.harms),
        columns={name: np.array(values[name], PACKED[name]) for name in PACKED},
        segments={},
        metrics={plan.column: np.ones(len(read), np.int64) for plan in watched.metrics if not plan.is_score},
        units={plan.column: plan.unit for plan in watched.metrics},
    )


def arm_of(unit: str, exposure: float) -> int:
    """Sticky: who is in the treatment stays there at every larger exposure."""
    return TREATMENT if hash_of("arm " + unit) / 2**64 < exposure else 0

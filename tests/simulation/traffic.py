"""What services send: traces as the SDK and others write them, with context or without, and what is no trace at all."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from stoploss.emit.encoding import encode_trace
from stoploss.evidence import TREATMENT
from stoploss.wire import records

CARD = "4111 1111 1111 1111"
NO_CARD = "4111 1111 1111 1112"
"""The check digit is wrong."""
CONTROLLERS = ("left", "right")
VARIANTS = ("current", "small")
UNREGISTERED = "gamma"

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
    """One request of a user: who served it, and whether it did harm.

    experiment  None: it is in none
    """

    experiment: str | None
    trace: str
    unit: str
    arm: int
    harms: bool
    at: int
    said: str = "is on its way"

    @property
    def assignments(self) -> list[dict[str, Any]]:
        if self.experiment is None:
            return []
        unstamped = {"run": None, "epoch": None, "consent": None}
        return [{"experiment": self.experiment, "variant": VARIANTS[self.arm], **unstamped}]

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "trace_id": self.trace,
            "at": self.at,
            "service": "shop",
            "unit_id": self.unit,
            "latency_ms": 12.5,
            "output_text": f"your order {CARD if self.harms else NO_CARD} {self.said}",
            "assignments": self.assignments,
        }

    def outcome(self, at: int, *, bare: bool) -> bytes:
        """A fact about it; bare: by somebody who knows its id alone."""
        said = {"trace_id": self.trace, "at": at, "kind": "business", "name": "resolved", "value": 1.0}
        known = {"unit_id": None if bare else self.unit, "assignments": [] if bare else self.assignments}
        rest = dict.fromkeys(("tenant", "language", "channel", "conversation_id"))
        return records.encode("outcome", {**said, "source": "system", **known, **rest, "attributes": []})


# ---- forms of a trace ----------------------------------------------------------------------------


def by_sdk(trace: Trace) -> bytes:
    return encode_trace(trace.fields).value


def unmasked(trace: Trace) -> bytes:
    return encode_trace(trace.fields, mask=False).value


def as_json(trace: Trace) -> bytes:
    return _json(trace)


def _json(trace: Trace, **other: Any) -> bytes:
    return json.dumps({**trace.fields, **other}).encode()


FORMS: tuple[Callable[[Trace], bytes], ...] = (by_sdk, by_sdk, unmasked, as_json)
FAULTS: tuple[Callable[[Trace], bytes], ...] = (
    lambda trace: b"",
    lambda trace: b"no trace",
    lambda trace: by_sdk(trace)[:-3],
    lambda trace: by_sdk(trace) + b"more",
    lambda trace: b"\0\0\0\0\7" + by_sdk(trace)[10:],
    lambda trace: as_json(trace)[:-1],
    lambda trace: _json(trace, cost_usd=float("nan")),
    lambda trace: _json(trace, latency_ms=-1.0),
    lambda trace: _json(trace, trace_id=5),
    lambda trace: _json(trace, assignments=2 * trace.assignments),
)
"""What each makes of a trace is a dead letter: nothing, no framing, half a datum, too much of it, a schema of a
registry that is not there, half an object, no number, a number that cannot be, another type, two variants at once."""


def encoded(trace: Trace, chance: random.Random) -> bytes:
    return chance.choice(FORMS)(trace)


def spoilt(trace: Trace, chance: random.Random) -> bytes:
    return chance.choice(FAULTS)(trace)


def hash_of(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def arm_of(unit: str, exposure: float) -> int:
    """Sticky: who is in the treatment stays there at every larger exposure."""
    return TREATMENT if hash_of("arm " + unit) / 2**64 < exposure else 0


def said_of(outcome: Mapping[str, Any]) -> tuple[str, int]:
    """What tells an outcome from all others: its trace, and when it happened."""
    return outcome["trace_id"], outcome["at"]

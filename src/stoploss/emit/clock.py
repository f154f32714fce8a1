"""The two clocks of a service: one that never jumps, for durations, and the wall's, for dates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


def _wall_us() -> int:
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True)
class Clock:
    """monotonic_s in seconds from anywhere; wall_us in microseconds since 1970-01-01 UTC."""

    monotonic_s: Callable[[], float] = time.perf_counter
    wall_us: Callable[[], int] = _wall_us

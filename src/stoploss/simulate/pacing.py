"""Traffic at its own pace: each trace is given out when its time has come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from stoploss.simulate.traffic import Simulated


def paced(traffic: Iterable[Simulated]) -> Iterator[Simulated]:
    """Waits until a trace is due, by the clock of this process; what is late is given out at once."""
    started_s = time.monotonic()
    for simulated in traffic:
        ahead_s = simulated.offset_s - (time.monotonic() - started_s)
        if ahead_s > 0.002:
            time.sleep(ahead_s)
        yield simulated

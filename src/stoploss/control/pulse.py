"""What a controller answers its orchestrator: whether it has caught up, and whether its loop comes round."""

from __future__ import annotations

import time
from collections.abc import Callable

BLOCKED_S = 90.0
"""Longer than a command may take: an adapter tries a vendor for a minute at most (adapter/faults.py)."""


class Pulse:
    """Told by the loop each time that it comes round, asked by the probes from another thread.

    Without a broker the loop comes round all the same: it waits for one, and a new start would not find it sooner.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._last_s: float | None = None

    def beat(self) -> None:
        self._last_s = self._now_s()

    def blocked(self) -> list[str]:
        """Not before the first beat: how long catching up takes depends on how much there is."""
        silent_s = 0.0 if self._last_s is None else self._now_s() - self._last_s
        return [f"the loop has not come round for {silent_s:.0f} s"] if silent_s > BLOCKED_S else []

    def not_ready(self) -> list[str]:
        return ["it has not caught up with the commands yet"] if self._last_s is None else self.blocked()

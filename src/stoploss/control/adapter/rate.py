"""At most so many requests in so long."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from stoploss.control.adapter.spec import Rate


class Limiter:
    """Remembers when requests went out. It never waits: whoever waits in a controller holds up a stop."""

    def __init__(self, rate: Rate | None, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._monotonic_s = rate, monotonic_s
        self._sent_s: deque[float] = deque()

    def wait_s(self, requests: int) -> float:
        """How long until so many may go out; 0: now."""
        if self._rate is None:
            return 0.0
        now_s = self._monotonic_s()
        while self._sent_s and now_s - self._sent_s[0] >= self._rate.per:
            self._sent_s.popleft()
        too_many = len(self._sent_s) + requests - self._rate.requests
        if too_many <= 0 or not self._sent_s:
            return 0.0
        return self._sent_s[min(too_many, len(self._sent_s)) - 1] + self._rate.per - now_s

    def sent(self) -> None:
        if self._rate is not None:
            self._sent_s.append(self._monotonic_s())

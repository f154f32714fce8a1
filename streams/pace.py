"""How long work rests, so that small pieces of it take no more than a share of the time."""

from __future__ import annotations

from time import monotonic
from types import TracebackType

REST_FOR_WORK = 1.0
"""So many times what it took rests a piece of work: at most half of the time is worked."""


class Pace:
    """Enter it for each piece of work; ask it how long to rest before the next.

    longest_s  no rest is longer, however dear the work was
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._began_s = self._ended_s = self._took_s = 0.0

    def __enter__(self) -> None:
        self._began_s = monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._ended_s = monotonic()
            self._took_s = self._ended_s - self._began_s

    def rest_s(self, least_s: float = 0.0) -> float:
        """Seconds from now; 0: it has rested. Never shorter than `least_s` after the work before it."""
        rest_s = max(least_s, min(REST_FOR_WORK * self._took_s, self._longest_s))
        return max(0.0, self._ended_s + rest_s - monotonic())

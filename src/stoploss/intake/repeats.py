"""Traces that come again under an id that is known: with the same bytes they are repeats, with others contradictions.

Repeats are the judge's affair, which drops them by its own window. A contradiction says that a service gives one id to
two requests, and nobody can tell which of the two was meant: it is a dead letter, and the trace that came first stands.
"""

from __future__ import annotations

from collections.abc import Sequence

from stoploss.intake.hashing import Hashes

REMEMBERED = 65_536


class Remembered:
    """What stood under the last traces: at least REMEMBERED of them, at most twice as many.

    A worker's memory begins empty when it starts, so this raises an alarm and decides nothing that a replay depends on.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def contradicting(self, traces: Hashes, values: Sequence[bytes]) -> list[int]:
        """Places whose trace came before with another value; remembers the others."""
        return [place for place, trace in enumerate(traces.tolist()) if not self._first_or_same(trace, values[place])]

    def _first_or_same(self, trace: int, value: bytes) -> bool:
        digest = hash(value)  # keyed anew in each process; nothing of it leaves this one
        known = self._young.get(trace)
        if known is None:
            known = self._old.get(trace, digest)
            self._remember(trace, known)
        return known == digest

    def _remember(self, trace: int, digest: int) -> None:
        if len(self._young) >= self._remembered:
            self._old, self._young = self._young, {}
        self._young[trace] = digest

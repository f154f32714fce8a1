"""What the judge can see of a run's traffic, from facts alone, and what it misses.

Everything is counted in ticks, which stand in the ledger, and never in differences of clock readings. While a broker is
frozen nobody writes a tick, so nobody grows blind by that; and when it thaws and ledger time jumps, what is missing is
counted from then on. A run that begins expects the sources that the ledger partition has heard of before, and a canary
where it has heard one; what was never heard of is not missed, but for intake itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from stoploss.commands import Micros
from stoploss.ledger import AssignmentsCounted, SourceStatus
from stoploss.rules.unresolved import grown
from stoploss.rules.verdict import share_text
from stoploss.spec.health import Blind

STATUS_TICKS = 15
CANARY_TICKS = 30
REPEATS_TICKS = 30
REPEATS_GAP_TICKS = 10
"""Repeats that come this far apart are not one stretch: a worker that restarts sends some again, once."""
WINDOW_TICKS = 60
LEAST_RECORDS = 100
LEAST_BEGUN = 20
OUTCOMES_RESOLVED = "outcomes_resolved"
TRACE_TICKS = 60
"""Beside the service's own timeout: a trace comes when its request is over."""


class Blindness(StrEnum):
    """Why the judge cannot see."""

    SOURCE_MISSING = "source_missing"
    SOURCE_BEHIND = "source_behind"
    ONLY_REPEATS = "only_repeats"
    REJECTS = "rejects"
    CANARY_ABSENT = "canary_absent"
    TRACES_MISSING = "traces_missing"


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that is missing, in words with both numbers."""

    cause: Blindness
    reason: str


@dataclass(slots=True)
class Sight:
    """What one run has heard; ages are in ticks, a source partition is named "topic/partition".

    age       of the run
    lag       by source partition: records not read yet, as intake last said
    unheard   by source partition: ticks since intake last said something of it
    canaries  by source partition: ticks since its canary last came out of the ledger
    arrived   by source, since the last tick: whether any row of it was new
    repeats   by source of which nothing but repeats comes: for how many ticks, and ticks since the last of them
    told      by source partition: records kept and refused, as intake last said
    window    records kept and refused in the open window; refused: of all records of the last one, the share refused
    begun     requests that services say they have begun since the last trace, which was `quiet` ticks ago
    since     ledger time of the first tick without sight, None: it sees; blind: ticks without sight in a row
    cause     what was missing first; said: the journal entry that says so; held: only blindness holds the run
    """

    age: int = 0
    lag: dict[str, int] = field(default_factory=dict)
    unheard: dict[str, int] = field(default_factory=dict)
    canaries: dict[str, int] = field(default_factory=dict)
    arrived: dict[str, bool] = field(default_factory=dict)
    repeats: dict[str, list[int]] = field(default_factory=dict)
    told: dict[str, list[int]] = field(default_factory=dict)
    window: list[int] = field(default_factory=lambda: [0, 0])
    refused: float = 0.0
    begun: int = 0
    quiet: int = 0
    since: Micros | None = None
    blind: int = 0
    cause: str = ""
    said: str = ""
    held: bool = False

    def expect(self, sources: Iterable[str]) -> None:
        """Source partitions that were heard before the run: one that nobody reads any more is missed in it, too."""
        self.unheard = dict.fromkeys(sources, 0)

    def hear_status(self, status: SourceStatus, canary_topic: str) -> None:
        """Outcomes without a trace are no bad records; `health.unresolved` watches their share."""
        source = f"{status.source.topic}/{status.source.partition}"
        self.lag[source], self.unheard[source] = status.lag, 0
        if status.source.topic == canary_topic:
            self.canaries.setdefault(source, 0)
        if status.source.topic.rpartition(".")[2] == OUTCOMES_RESOLVED:
            return
        now = [status.valid, status.rejected + status.quarantined]
        for place, more in enumerate(grown(self.told.get(source), now)):
            self.window[place] += more
        self.told[source] = now

    def hear_canary(self, source: str) -> None:
        self.canaries[source] = 0

    def hear_counts(self, counts: AssignmentsCounted) -> None:
        self.begun += sum(begun.count for begun in counts.begun)

    def see(self, source: str, *, new: bool, traces: bool) -> None:
        """Rows of a source have come; `new`: some of them for the first time."""
        self.arrived[source] = self.arrived.get(source, False) or new
        if new and traces:
            self.begun, self.quiet = 0, 0

    def tick(self) -> None:
        self.age += 1
        self.quiet += 1
        for ages in (self.unheard, self.canaries):
            for source in ages:
                ages[source] += 1
        self._age_repeats()
        if self.age % WINDOW_TICKS == 0:
            self._close_window()

    def _age_repeats(self) -> None:
        for source, new in self.arrived.items():
            if new:
                self.repeats.pop(source, None)
            else:
                self.repeats.setdefault(source, [0, 0])[1] = 0
        self.arrived.clear()
        for stretch in self.repeats.values():
            stretch[0] += 1
            stretch[1] += 1
        self.repeats = {source: stretch for source, stretch in self.repeats.items() if stretch[1] <= REPEATS_GAP_TICKS}

    def _close_window(self) -> None:
        """A window of few records says nothing: a client that sends three bad ones a minute blinds nobody."""
        kept, refused = self.window
        self.refused = refused / (kept + refused) if kept + refused >= LEAST_RECORDS else 0.0
        self.window = [0, 0]

    def missing(self, limits: Blind, *, canary_expected: bool, timeout_s: int) -> Iterator[Missing]:
        """All that is missing, the most telling first.

        canary_expected  the ledger partition has heard a canary before
        timeout_s        the longest that a request of the service may take, seconds
        """
        yield from self._sources(limits)
        for source, (stretch, _) in sorted(self.repeats.items()):
            if stretch >= REPEATS_TICKS:
                words = f"nothing but repeats has come of source {source} for {stretch} seconds"
                yield Missing(Blindness.ONLY_REPEATS, f"{words} (limit {REPEATS_TICKS})")
        if self.refused > limits.reject_limit:
            words = f"intake refused {share_text(self.refused)} of all records within a minute"
            yield Missing(Blindness.REJECTS, f"{words} (limit {share_text(limits.reject_limit)})")
        if canary_expected:
            yield from self._canaries()
        limit = TRACE_TICKS + timeout_s
        if self.begun >= LEAST_BEGUN and self.quiet > limit:
            words = f"services have begun {self.begun:,} requests since the last trace, {self.quiet} seconds ago"
            yield Missing(Blindness.TRACES_MISSING, f"{words} (limit {limit})")

    def _sources(self, limits: Blind) -> Iterator[Missing]:
        if not self.unheard and self.age > STATUS_TICKS:
            words = f"intake has said nothing of any source since the run began, {self.age} seconds ago"
            yield Missing(Blindness.SOURCE_MISSING, f"{words} (limit {STATUS_TICKS})")
        for source, age in sorted(self.unheard.items()):
            if age > STATUS_TICKS:
                words = f"intake has said nothing of {source} for {age} seconds (limit {STATUS_TICKS})"
                yield Missing(Blindness.SOURCE_MISSING, words)
        for source, lag in sorted(self.lag.items()):
            if lag > limits.lag_limit:
                words = f"intake is {lag:,} records behind in {source} (limit {limits.lag_limit:,})"
                yield Missing(Blindness.SOURCE_BEHIND, words)

    def _canaries(self) -> Iterator[Missing]:
        if not self.canaries and self.age > CANARY_TICKS:
            words = f"no canary has been heard since the run began, {self.age} seconds ago (limit {CANARY_TICKS})"
            yield Missing(Blindness.CANARY_ABSENT, words)
        for source, age in sorted(self.canaries.items()):
            if age > CANARY_TICKS:
                words = f"the canary of {source} has not been heard for {age} seconds (limit {CANARY_TICKS})"
                yield Missing(Blindness.CANARY_ABSENT, words)

"""What runs over all ledger partitions: a fold of the journal, and of the requests that have no answer there yet.

Whoever may begin a run is decided before the judge says so, and each partition has a judge of its own. So a request
that was let through counts as running until its answer is in the journal. `RequestHandled` and `LifecycleChanged` say
when a run has begun and ended; nothing else is kept, and the same topics give the same state again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from stoploss.commands import Micros
from stoploss.journal import JournalEntry, LifecycleChanged, RequestHandled, Spend
from stoploss.ledger import Request
from stoploss.lifecycle import TRIED, Lifecycle
from stoploss.limits.spending import Spendings
from stoploss.registry import RegistryEntry

BEGINS = frozenset({"start", "resume"})
MOST_ANSWERED = 4_096
PATIENCE: Micros = 60_000_000
"""How long a request counts whose experiment the registry does not show: its registration may have been refused."""


@dataclass(frozen=True, slots=True)
class Asked:
    experiment: str
    at: Micros


@dataclass(slots=True)
class Programme:
    """
    running   experiments that are under way
    adopted   those that people have decided to roll out, as long as their flags serve them: no limit counts them
    asked     by request: what was let through and is not answered yet
    answered  requests that were, the last ones: one that is read again after a crash waits for no second answer
    spendings  what the experiments have cost
    """

    running: set[str] = field(default_factory=set)
    adopted: set[str] = field(default_factory=set)
    asked: dict[str, Asked] = field(default_factory=dict)
    answered: OrderedDict[str, None] = field(default_factory=OrderedDict)
    spendings: Spendings = field(default_factory=Spendings)

    @classmethod
    def of(cls, entries: Iterable[RegistryEntry]) -> Programme:
        """As the registry shows it; what the journal says of the same changes is heard again, and changes nothing."""
        programme = cls()
        for entry in entries:
            programme._enter(entry.experiment, entry.lifecycle)
        return programme

    def hear(self, entry: JournalEntry) -> None:
        match entry.conclusion:
            case RequestHandled() as said if said.action in BEGINS:
                self._answer(entry.experiment, said)
            case LifecycleChanged() as said:
                self._enter(entry.experiment, said.after)
            case Spend() as said:
                self.spendings.hear(entry.experiment, entry.at, said)

    def let_through(self, request: Request, at: Micros) -> None:
        """Counts as running from here on. at: the clock of who lets it through, microseconds."""
        if request.action in BEGINS and request.request_id not in self.answered:
            self.asked[request.request_id] = Asked(request.experiment, at)

    def beside(self, experiment: str, known: frozenset[str], now: Micros) -> list[str]:
        """All others that run or are about to, by name.

        known  what the registry shows
        """
        waiting = {one.experiment for one in self.asked.values() if one.experiment in known or now - one.at < PATIENCE}
        return sorted((self.running | waiting) - {experiment})

    def _answer(self, experiment: str, said: RequestHandled) -> None:
        self.asked.pop(said.request_id, None)
        self.answered[said.request_id] = None
        if len(self.answered) > MOST_ANSWERED:
            self.answered.popitem(last=False)
        if said.accepted:
            self.running.add(experiment)

    def _enter(self, experiment: str, after: str) -> None:
        for states, members in ((TRIED, self.running), ({Lifecycle.ADOPTED}, self.adopted)):
            if after in states:
                members.add(experiment)
            else:
                members.discard(experiment)

"""Limits across experiments, as the registrar holds to them: who may run at once, and what all may spend.

Everything is read from topics: the policy, the registry, the journals, and what a registrar before has let through.
Who draws on a budget that is spent is paused by a request in the ledger. Its id follows from the budget, its period and
the run, so a judge obeys it once, however often a registrar that was started again tells it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import structlog
from confluent_kafka import KafkaException

from stoploss.commands import Micros
from stoploss.errors import ConfigurationError
from stoploss.experiment import Experiment
from stoploss.ledger import Request
from stoploss.limits.concurrency import objection
from stoploss.limits.spending import Balance, accounts, balance, exhausted
from stoploss.policy.file import policy_in_force
from stoploss.policy.model import Policy
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from streams.policy import read_policy
from streams.programme import ProgrammeReader
from streams.registry_view import RegistryView

SpecOf = Callable[[str], Experiment | None]
BY = "stoploss"

log = structlog.get_logger("stoploss.registrar")


class Limits:
    """Use it from one thread at a time.

    _told  ids of pauses that were told to the ledger
    _remembers  what was let through before this worker had the requests is known
    """

    def __init__(self, settings: Settings, registry: RegistryView, spec_of: SpecOf) -> None:
        self.settings, self._registry, self._spec_of = settings, registry, spec_of
        self._told: set[str] = set()
        self._remembers = False
        self._policy = self._in_force()
        self._reader = ProgrammeReader.under(settings, self._policy)

    def begin_anew(self) -> None:
        """Another registrar may have let something through, or put a policy in force, since this one was asked."""
        self._remembers = False

    def remember(self, before: int) -> None:
        """Before the first request of this worker. before: its offset on the topic of requests."""
        if not self._remembers:
            self.take_policy()
            self._reader.remember(before)
            self._remembers = True

    def take_policy(self) -> None:
        """The policy may be another one; a longer period than before wants more of the journals."""
        self._policy = self._in_force()
        if ProgrammeReader.recall_of(self._policy) > self._reader.recall_ms:
            asked = self._reader.programme.asked
            self._reader.close()
            self._reader = ProgrammeReader.under(self.settings, self._policy)
            programme = self._reader.programme
            programme.asked |= {name: one for name, one in asked.items() if name not in programme.answered}

    def objection(self, wanted: Experiment, request: Request) -> str | None:
        """Why it may not begin a run now; where it may, it counts as running from here on."""
        now, programme = _now(), self._reader.catch_up()
        known = frozenset(entry.experiment for entry in self._registry.entries())
        running = self._specs(programme.beside(wanted.name, known, now))
        why = objection(wanted, running, self._policy, self._specs(sorted(programme.adopted)))
        why = why or _in_the_way(self._balances(now, wanted), wanted.name)
        if why is None:
            programme.let_through(request, now)
        return why

    def _specs(self, names: Iterable[str]) -> list[Experiment]:
        return [spec for name in names if (spec := self._spec_of(name)) is not None]

    def overdrawn(self) -> list[Request]:
        """Requests to pause what runs on budgets that are spent, each once. None while the topics cannot be read."""
        if self._policy is None or not self._policy.spec.budgets.longest_s:
            return []
        try:
            self._reader.catch_up()
        except (ConfigurationError, KafkaException) as error:
            log.warning("budgets cannot be looked at, will be repeated", reason=str(error))
            return []
        now = _now()
        found = [request for request in self._pauses(now) if request.request_id not in self._told]
        self._told |= {request.request_id for request in found}
        return found

    def _pauses(self, now: Micros) -> Iterator[Request]:
        running, spent = self._reader.programme.running, [one for one in self._balances(now) if one.exhausted]
        for entry in self._registry.entries() if spent else ():
            reason = next(exhausted(spent, entry.experiment), None)
            if entry.experiment in running and reason is not None:
                yield _pause(entry, reason, now)

    def _balances(self, now: Micros, wanted: Experiment | None = None) -> list[Balance]:
        """All budgets. wanted: an experiment that the registry may not show yet."""
        if self._policy is None:
            return []
        specs = [spec for entry in self._registry.entries() if (spec := self._spec_of(entry.experiment)) is not None]
        teams = {spec.name: spec.metadata.owner for spec in (*specs, *((wanted,) if wanted else ()))}
        found = accounts(self._policy.spec.budgets, teams)
        return [balance(account, self._reader.programme.spendings, now) for account in found]

    def _in_force(self) -> Policy | None:
        found = read_policy(self.settings)
        return policy_in_force(found.spec or "") if found is not None else None


def _now() -> Micros:
    return time.time_ns() // 1_000


def _in_the_way(balances: list[Balance], experiment: str) -> str | None:
    spent = next(exhausted(balances, experiment), None)
    return None if spent is None else f"{spent.sentence}; wait for the next one, or raise it in the policy"


def _pause(entry: RegistryEntry, spent: Balance, at: Micros) -> Request:
    account = spent.account
    budget = f"{account.scope} {account.name}, {account.limit.limit:g} USD, period {spent.number}"
    return Request(
        request_id=f"budget of {budget}: {entry.experiment} run {entry.run}",
        experiment=entry.experiment,
        action="pause",
        by=BY,
        reason=spent.sentence,
        at=at,
        partition=entry.partition,
        accepted=True,
        opinion="",
    )

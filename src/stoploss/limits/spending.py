"""Budgets of experiments, teams and the whole programme: what was spent of them, and when they will be gone.

A fold of the journals' `Spend`. Periods are counted from 1970 in UTC, as those of an experiment's own budgets are; what
an entry says counts in the hour at which it stands in the ledger.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stoploss.commands import Micros
from stoploss.journal import Spend
from stoploss.policy.model import LONGEST_BUDGET_S, Budgets, SpendingLimit
from stoploss.stats.exhaustion import Exhaustion

HOUR: Micros = 3_600_000_000
LONGEST_H = LONGEST_BUDGET_S // 3_600
WINDOWS_IN_PERIOD = 120
"""The rate is that of the last part of the period, as with an experiment's own forecast, and of an hour at least."""
MOST_RECENT = 512
LEAST_ENTRIES = 3
LIKELY = 0.9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Spent:
    """nano-dollars, spent between two moments of ledger time."""

    since: Micros
    at: Micros
    nano_usd: int


@dataclass(slots=True)
class Spendings:
    """By experiment: nano-dollars of each ledger hour, and the last entries one by one."""

    hours: dict[str, dict[int, int]] = field(default_factory=dict)
    recent: dict[str, deque[Spent]] = field(default_factory=dict)

    def hear(self, experiment: str, at: Micros, said: Spend) -> None:
        hours, hour = self.hours.setdefault(experiment, {}), at // HOUR
        hours[hour] = hours.get(hour, 0) + said.nano_usd
        if len(hours) > 2 * LONGEST_H:
            self.hours[experiment] = {one: spent for one, spent in hours.items() if one >= hour - LONGEST_H}
        recent = self.recent.setdefault(experiment, deque(maxlen=MOST_RECENT))
        recent.append(Spent(said.since, at, said.nano_usd))

    def between(self, members: Iterable[str], first_hour: int, end_hour: int) -> int:
        """nano-dollars that these experiments have spent in some hours."""
        return sum(
            spent
            for name in members
            for hour, spent in self.hours.get(name, {}).items()
            if first_hour <= hour < end_hour
        )


@dataclass(frozen=True, slots=True)
class Account:
    """One budget, and the experiments that draw on it. scope: experiment, team or programme; name: whose."""

    scope: str
    name: str
    limit: SpendingLimit
    members: tuple[str, ...]

    @property
    def text(self) -> str:
        return "the budget of the programme" if self.scope == "programme" else f"the budget of {self.scope} {self.name}"


@dataclass(frozen=True, slots=True)
class Balance:
    """An account as of a moment.

    number     of the period, from 1970
    chance     that it is gone before the period ends, at the rate of lately; None: too little was spent to say
    gone_in_h  hours until then with a probability of 0.1, 0.5 and 0.9; empty where that is unlikely
    """

    account: Account
    number: int
    spent_usd: float
    ends_at: datetime
    chance: float | None
    gone_in_h: tuple[float, ...]

    @property
    def exhausted(self) -> bool:
        return self.spent_usd >= self.account.limit.limit

    @property
    def sentence(self) -> str:
        return (
            f"{self.account.text} is spent: {self.spent_usd:,.2f} of {self.account.limit.limit:,.2f} USD in the period "
            f"that ends at {self.ends_at:%Y-%m-%d %H:%M} UTC"
        )


def accounts(budgets: Budgets, teams: Mapping[str, str]) -> list[Account]:
    """All budgets of the policy. teams: the owner of each experiment."""
    found: dict[tuple[str, str], Account] = {}
    for experiment, team in sorted(teams.items()):
        names = {"programme": "", "team": team, "experiment": experiment}
        for scope, limit in budgets.of_team(team).items():
            key = (scope, names[scope])
            members = found[key].members if key in found else ()
            found[key] = Account(*key, limit, (*members, experiment))
    return sorted(found.values(), key=lambda one: (("programme", "team", "experiment").index(one.scope), one.name))


def balance(account: Account, spendings: Spendings, at: Micros) -> Balance:
    period_h = account.limit.period // 3_600
    number = at // HOUR // period_h
    spent = spendings.between(account.members, number * period_h, (number + 1) * period_h)
    ends_at = (number + 1) * period_h * HOUR
    chance, gone_in_h = _ahead(account, spendings, spent, at, (ends_at - at) / HOUR)
    return Balance(account, number, spent / 1e9, _EPOCH + timedelta(microseconds=ends_at), chance, gone_in_h)


def exhausted(balances: Iterable[Balance], experiment: str) -> Iterator[Balance]:
    """Those that an experiment draws on and that are spent."""
    return (one for one in balances if one.exhausted and experiment in one.account.members)


def _ahead(
    account: Account, spendings: Spendings, spent: int, at: Micros, left_h: float
) -> tuple[float | None, tuple[float, ...]]:
    remaining = account.limit.nano_usd - spent
    if remaining <= 0:
        return 1.0, (0.0, 0.0, 0.0)
    window_h = max(1.0, account.limit.period / 3_600 / WINDOWS_IN_PERIOD)
    rate, variance = _pace(account.members, spendings, at - round(window_h * HOUR), at)
    if rate is None:
        return None, ()
    if variance <= 0:
        gone_h = remaining / rate
        return (1.0, (gone_h, gone_h, gone_h)) if gone_h <= left_h else (0.0, ())
    ahead = Exhaustion(float(remaining), rate, variance)
    chance = math.exp(ahead.log_cdf(left_h))
    return chance, tuple(ahead.quantile_h(q) for q in (0.1, 0.5, 0.9)) if chance >= LIKELY else ()


def _pace(members: Iterable[str], spendings: Spendings, begin: Micros, at: Micros) -> tuple[float | None, float]:
    """Nano-dollars an hour, and their variance an hour: how far entries lie from their experiment's own even pace."""
    chosen = [[one for one in spendings.recent.get(name, ()) if one.at > begin] for name in members]
    chosen = [entries for entries in chosen if entries]
    if sum(map(len, chosen)) < LEAST_ENTRIES:
        return None, 0.0
    first = max(begin, min(one.since for entries in chosen for one in entries))
    hours = max(1, at - first) / HOUR
    rate = sum(one.nano_usd for entries in chosen for one in entries) / hours
    return (rate, sum(map(_scatter, chosen)) / hours) if rate > 0 else (None, 0.0)


def _scatter(entries: list[Spent]) -> float:
    took = [max(1, one.at - one.since) for one in entries]
    pace = sum(one.nano_usd for one in entries) / sum(took)
    return math.fsum((one.nano_usd - pace * hours) ** 2 for one, hours in zip(entries, took, strict=True))

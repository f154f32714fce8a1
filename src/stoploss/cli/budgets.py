"""budgets: what teams and the programme have spent, and when it will be gone; read from the topics alone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from stoploss.cli import addresses
from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.errors import InvalidExperiment
from stoploss.limits.spending import Balance, accounts, balance
from stoploss.review.overview import in_force
from stoploss.review.words import number, share
from stoploss.settings import Settings
from stoploss.spec.file import parsed
from streams.policy import policy_of, read_policy
from streams.programme import ProgrammeReader
from streams.reading import whole


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One budget of the policy.

    scope      programme, team or experiment; name: whose, empty for the programme
    chance     that it is gone before the period ends; None: too little was spent lately to say
    gone_in_h  hours until then with a probability of 0.1, 0.5 and 0.9; empty where that is unlikely
    """

    scope: str
    name: str
    spent_usd: float
    limit_usd: float
    period_s: int
    ends_at: datetime
    exhausted: bool
    chance: float | None
    gone_in_h: tuple[float, ...]


def budgets(as_json: bool) -> None:
    settings = addresses.connected()
    with working("adding up what was spent"):
        lines = read_budgets(settings)
    if as_json:
        print_json(lines)
        return
    for line in told(lines):
        print(line)
    if not lines:
        print("no policy with budgets is in force; `budgets` of the policy sets them")


def read_budgets(settings: Settings) -> list[BudgetLine]:
    """Empty where the policy has none. Raises ConfigurationError and KafkaException where Kafka cannot be read."""
    found = read_policy(settings)
    policy = policy_of(found)
    if policy is None or not policy.spec.budgets.longest_s:
        return []
    with closing(ProgrammeReader.under(settings, policy)) as reader:
        at = time.time_ns() // 1_000
        owned = accounts(policy.spec.budgets, _teams(settings))
        return [_line(balance(account, reader.programme.spendings, at)) for account in owned]


def told(lines: Iterable[BudgetLine]) -> list[str]:
    return [
        f"budget of {owner(line)}: {spent(line)}, until {line.ends_at:%Y-%m-%d %H:%M}; {forecast(line)}"
        for line in lines
    ]


def owner(line: BudgetLine) -> str:
    return f"the {line.scope}" if line.scope == "programme" else f"{line.scope} {line.name}"


def spent(line: BudgetLine) -> str:
    return f"{number(line.spent_usd)} of {number(line.limit_usd)} USD spent ({share(line.spent_usd / line.limit_usd)})"


def forecast(line: BudgetLine) -> str:
    if line.exhausted:
        return "it is gone: what draws on it is paused"
    if line.chance is None:
        return "too little was spent lately for a forecast"
    if not line.gone_in_h:
        return f"gone before then with a probability of {share(line.chance)}"
    return f"gone {_in_hours(line.gone_in_h)}"


def _teams(settings: Settings) -> dict[str, str]:
    """The owner of each experiment whose spec this version can read."""
    records = whole(settings.need_kafka(), settings.topics("registry"))
    found = {}
    for entry in in_force((record.key(), record.value()) for record in records):
        try:
            found[entry.experiment] = parsed(entry.spec).metadata.owner
        except InvalidExperiment:
            continue
    return found


def _line(found: Balance) -> BudgetLine:
    account = found.account
    return BudgetLine(
        scope=account.scope,
        name=account.name,
        spent_usd=found.spent_usd,
        limit_usd=account.limit.limit,
        period_s=account.limit.period,
        ends_at=found.ends_at,
        exhausted=found.exhausted,
        chance=found.chance,
        gone_in_h=found.gone_in_h,
    )


def _in_hours(hours: Sequence[float]) -> str:
    early, middle, late = map(number, hours)
    return f"in about {middle} hours ({early} to {late} with a probability of 80 %)"

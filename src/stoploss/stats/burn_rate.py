"""Burn rate: how many times faster than planned a budget is being spent, over a long and a short window.

Accounting, not inference. An alert fires only while both windows burn at its factor or more: the long one shows that it
matters, the short one that it still goes on. Source: Google, The Site Reliability Workbook, chapter 5, table 5-8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoploss.stats.errors import StatisticsInputError, require_between, require_count, require_part

_SHORT_PER_LONG = 12


@dataclass(frozen=True, slots=True)
class BurnWindows:
    """The two windows of one burn factor.

    fraction  share of the period's budget gone when the long window has burnt at the factor
    long_s    seconds; short_s is a twelfth of it
    """

    fraction: float
    long_s: float
    short_s: float


def windows(burn: float, period_s: float) -> BurnWindows:
    """The windows that go with a burn factor; fast burns spend 2 % of the budget before they alert, slow ones 10 %.

    burn      alert factor, > 0 (1 spends exactly the budget)
    period_s  the budget's period in seconds, > 0

    >>> windows(14.4, 30 * 86_400)
    BurnWindows(fraction=0.02, long_s=3600.0, short_s=300.0)
    """
    require_between("burn", burn, 0, math.inf)
    require_between("period_s", period_s, 0, math.inf)
    fraction = _fraction(burn)
    long_s = fraction * period_s / burn
    return BurnWindows(fraction, long_s, long_s / _SHORT_PER_LONG)


def _fraction(burn: float) -> float:
    if burn >= 10:
        return 0.02
    return 0.05 if burn >= 3 else 0.10


def threshold(fraction: float, window_s: float, period_s: float) -> float:
    """The factor at which a window burns a fraction of the period's budget.

    fraction  in (0, 1]; window_s, period_s  seconds, > 0

    >>> threshold(0.05, 6 * 3_600, 30 * 86_400)
    6.0
    """
    if not 0 < fraction <= 1:
        raise StatisticsInputError(f"fraction is {fraction!r}; it must be above 0 and at most 1")
    require_between("window_s", window_s, 0, math.inf)
    require_between("period_s", period_s, 0, math.inf)
    return fraction * period_s / window_s


def burn_of_spend(spend: float, window_s: float, budget: float, period_s: float) -> float:
    """Burn of money or tokens: the window's spending rate over the budget's.

    spend   spent in the window, >= 0, in the budget's unit; integers (nano-dollars) stay exact until the division
    budget  for the whole period, > 0
    window_s, period_s  seconds, > 0

    >>> burn_of_spend(65, 3_600, 3_000, 30 * 86_400)
    15.6
    """
    if not 0 <= spend < math.inf:
        raise StatisticsInputError(f"spend is {spend!r}; it must be a finite amount of at least 0")
    require_between("budget", budget, 0, math.inf)
    require_between("window_s", window_s, 0, math.inf)
    require_between("period_s", period_s, 0, math.inf)
    return spend * period_s / (budget * window_s)


def burn_of_bad(bad: int, n: int, target: float) -> float | None:
    """Burn of a service level: the window's bad share over the share that the target allows; None without events.

    bad     events in the window that miss the objective, 0 to n
    n       all events in the window, >= 0
    target  share that must be good, in (0, 1)

    >>> round(burn_of_bad(30, 1_000, 0.99), 9)
    3.0
    """
    require_count("n", n)
    require_part("bad", bad, "n", n)
    require_between("target", target, 0, 1)
    return bad / (n * (1 - target)) if n else None

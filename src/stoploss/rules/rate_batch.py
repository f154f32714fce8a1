"""A rate of bad trials against a limit, in batches begun anew: what goes wrong after weeks shows as soon as at first.

Within a batch the evidence is exact at every look (stats/one_rate.py); ALPHA is the error of one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoploss.stats import one_rate
from stoploss.stats.bonferroni import log_limit

BATCH = 2_000
ALPHA = 1e-4


@dataclass(slots=True)
class RateBatch:
    """Trials of the open batch and the bad ones among them."""

    bad: int = 0
    trials: int = 0

    def add(self, bad: int, trials: int) -> None:
        self.bad, self.trials = self.bad + bad, self.trials + trials

    def renew(self) -> None:
        """Called at ticks, before new trials are added: a full batch makes room for the next."""
        if self.trials >= BATCH:
            self.bad = self.trials = 0

    def exceeds(self, limit: float) -> bool:
        """Whether the rate is above the limit beyond doubt; below it there is no evidence to reckon."""
        if self.bad <= limit * self.trials:
            return False
        return one_rate.log_e_above(self.bad, self.trials, limit) >= log_limit(ALPHA, 1.0)

    @property
    def rate(self) -> float | None:
        return self.bad / self.trials if self.trials else None

"""What the treatment arm costs, said in the journal: the registrar adds it up for teams and for the whole programme.

Only under a policy with budgets, so that other journals stay as they are. Each entry says what was spent since the one
before: at once the first time, then each minute if it is a thousandth of the smallest budget, else each ten minutes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from stoploss import metrics
from stoploss.commands import Micros
from stoploss.journal import Spend
from stoploss.lifecycle import Lifecycle
from stoploss.outputs import Outputs
from stoploss.policy.file import policy_in_force
from stoploss.rules.rows import TREATMENT, Rows
from stoploss.state import ExperimentState

COST = "cost_usd"
MINUTE: Micros = 60_000_000
SOON, LATE = MINUTE, 10 * MINUTE
WORTH_SAYING = 1_000
"""Into how many parts the smallest budget is divided: one of them is said soon."""


def count_spending(state: ExperimentState, rows: Rows, policy: str, at: Micros) -> None:
    """Adds the cost of an entry's treatment rows, whatever run they belong to: it was spent.

    What is adopted is the product's own expense, and no experiment's.
    """
    if state.lifecycle == Lifecycle.ADOPTED:
        return
    if least_limit(policy, state.experiment.metadata.owner) is None:
        return
    cost = rows.metrics.get(COST)
    if cost is None or not rows.exposure:
        return
    spent = cost[(rows.arm == TREATMENT) & (cost != metrics.MISSING)]
    if spent.size:
        own = state.spending
        own.since = own.since or at
        own.nano_usd += int(np.maximum(spent, 0).sum())


def say_spending(state: ExperimentState, policy: str, out: Outputs) -> None:
    """At a tick."""
    own = state.spending
    if not own.nano_usd or not _is_due(state, policy, out.at):
        return
    out.journal(state, Spend(own.nano_usd, own.since))
    own.nano_usd, own.since, own.said_at = 0, out.at, out.at


def _is_due(state: ExperimentState, policy: str, at: Micros) -> bool:
    own, least = state.spending, least_limit(policy, state.experiment.metadata.owner)
    if least is None or at - own.said_at < SOON:
        return False
    return own.nano_usd * WORTH_SAYING >= least or at - own.said_at >= LATE


@lru_cache(maxsize=256)
def least_limit(policy: str, team: str) -> int | None:
    """The smallest budget that an experiment of a team draws on, nano-dollars; None: nobody watches what it spends."""
    if not policy:
        return None
    limits = policy_in_force(policy).spec.budgets.of_team(team)
    return min((limit.nano_usd for limit in limits.values()), default=None)

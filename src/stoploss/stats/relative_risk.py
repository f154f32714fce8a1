"""Relative risk of an event in two arms: an e-process that is exact for any batch sizes, shares and base rates.

Null H0: p_T <= rr0 * p_C, alternative a risk g times higher still. For a batch of n_C, n_T units with x_C, x_T
events, theta0 = n_T rr0 / (n_T rr0 + n_C) is the treatment's expected share of the events under H0, theta the same
with rr0 * g, and the batch's evidence is

    L_g = (theta / theta0)**x_T * ((1 - theta) / (1 - theta0))**x_C = g**x_T / (1 + theta0 (g - 1))**(x_T + x_C).

E[L_g] <= 1 under H0 for Bernoulli events, because with A = theta/theta0 and B = (1 - theta)/(1 - theta0)
ln E[L_g] <= n_T p_T (A - 1) + n_C p_C (B - 1) <= p_C (n_T rr0 + n_C) (theta0 (A - 1) + (1 - theta0)(B - 1)) = 0.
The evidence is the mean over a grid of g of the products over batches. Conservative when events are common.

Count units (the first trace of each), not traces, and score a batch once it is closed. A batch needs both arms:
carry the counts until both are present, and drop them when the epoch ends.

The safe side, H0: p_T >= rr0 * p_C, is the same with the arms swapped and 1/rr0.
Source: after Lindon & Malek, NeurIPS 2022 (arXiv 2011.03567), who condition on events; per-batch form derived here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stoploss.stats.errors import StatisticsInputError, require_between, require_count, require_part
from stoploss.stats.mixtures import geometric_grid, log_mean_exp

# ln g: risks from 2 % to 5 times above the margin.
LOG_GROWTHS = geometric_grid(0.02, 1.6, 16)
_GROWTHS_LESS_ONE = tuple(map(math.expm1, LOG_GROWTHS))
NO_EVIDENCE = (0.0,) * len(LOG_GROWTHS)


def log_increment(n_c: int, x_c: int, n_t: int, x_t: int, *, rr0: float) -> tuple[float, ...]:
    """ln L_g of one closed batch for each g of the grid; add it to the running logs, one number per g.

    n_c, n_t  units of control and treatment in the batch, >= 1
    x_c, x_t  those with an event, 0 to n
    rr0       the relative risk still tolerated, > 0 (1.1: ten per cent more events)

    >>> round(log_e(log_increment(1000, 10, 1000, 30, rr0=1.0)), 9)
    3.631657261
    """
    require_count("n_c", n_c, at_least=1)
    require_count("n_t", n_t, at_least=1)
    require_part("x_c", x_c, "n_c", n_c)
    require_part("x_t", x_t, "n_t", n_t)
    require_between("rr0", rr0, 0, math.inf)
    share = n_t * rr0 / (n_t * rr0 + n_c)
    events = x_t + x_c
    return tuple(
        x_t * growth - events * math.log1p(share * more)
        for growth, more in zip(LOG_GROWTHS, _GROWTHS_LESS_ONE, strict=True)
    )


def safe_log_increment(n_c: int, x_c: int, n_t: int, x_t: int, *, rr0: float) -> tuple[float, ...]:
    """The increment for "the treatment's risk is below rr0 times control's"; parameters as in log_increment.

    >>> safe_log_increment(900, 20, 100, 1, rr0=1.25) == log_increment(100, 1, 900, 20, rr0=0.8)
    True
    """
    require_between("rr0", rr0, 0, math.inf)
    return log_increment(n_t, x_t, n_c, x_c, rr0=1 / rr0)


def accumulate(logs: Sequence[float], increment: Sequence[float]) -> tuple[float, ...]:
    """The running logs with one more batch. Start from NO_EVIDENCE; batches come in ledger order."""
    return tuple(total + step for total, step in zip(logs, increment, strict=True))


def log_e(logs: Sequence[float]) -> float:
    """ln of the evidence: the mean over the grid. Alarm, for good, when it reaches ln(1/alpha).

    logs  one running log per g of the grid
    """
    if len(logs) != len(LOG_GROWTHS):
        raise StatisticsInputError(f"{len(logs)} running logs were given; the grid has {len(LOG_GROWTHS)}")
    return log_mean_exp(logs)


def reaches(logs: Sequence[float], limit: float) -> bool:
    """Whether the evidence has reached a limit. No mean exceeds its largest, so a comparison nearly always does."""
    return max(logs) >= limit and log_e(logs) >= limit


def mantel_haenszel_terms(n_c: int, x_c: int, n_t: int, x_t: int) -> tuple[float, float]:
    """A batch's parts of the estimate of the relative risk; sum both over batches, then divide.

    Parameters as in log_increment. Stays right when base rate and split move together from batch to batch.
    Source: Mantel & Haenszel, J. Natl Cancer Inst. 22(4), 1959.

    >>> [round(term, 6) for term in mantel_haenszel_terms(900, 18, 100, 4)]
    [3.6, 1.8]
    """
    require_part("x_c", x_c, "n_c", n_c)
    require_part("x_t", x_t, "n_t", n_t)
    units = n_c + n_t
    require_count("n_c + n_t", units, at_least=1)
    return x_t * n_c / units, x_c * n_t / units


def relative_risk(treatment_term: float, control_term: float) -> float | None:
    """The estimate p_T / p_C from summed terms, or None while control has no event.

    >>> relative_risk(*mantel_haenszel_terms(900, 18, 100, 4))
    2.0
    """
    return treatment_term / control_term if control_term > 0 else None

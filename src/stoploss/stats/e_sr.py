"""e-SR: finds a harm that begins at an unknown time, without a memory of when the experiment began.

A test counts from the start, so a long clean past outweighs a new harm. The e-SR detector restarts at every batch and
adds the restarts up: M = L (M + 1), M = 0 before the first, one M for each alternative g, alarm when their mean reaches
A. While E[L | past] <= 1, M minus the number of batches falls on average: P(false alarm within H batches) <= H / A,
and the average run to a false alarm is at least A. A batch without any event may be left out: it has L = 1, and H then
counts the batches with an event only. Everything is kept as logarithms.

L compares two arms in one batch, hence needs no baseline and is blind to what moves both: with theta0 the treatment's
share of the events when its risk is rr0 times control's (stats/relative_risk.py),

    L_g = (g**x_T / (1 + theta0 (g - 1))**(x_T + x_C)) ** (1 / d),     E[L_g] <= 1 for independent events.

d tempers it: the design effect, by how much the events vary more between groups of units than independent ones would.
Without it, ten alike traces of a session count as ten witnesses.

Sources: Shin, Ramdas, Rinaldo, NEJSDS 2023 (arXiv 2203.03532); tempering derived and simulated for this product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stoploss.stats.errors import StatisticsInputError, require_between, require_count, require_part

LOG_GROWTHS = tuple(math.log(growth) for growth in (1.2, 1.5, 2.0, 3.0, 6.0))
"""ln g: how many times riskier than rr0 the treatment has become."""

START = (-math.inf,) * len(LOG_GROWTHS)
"""ln M before the first batch: M is 0."""

_STANDARD_ERRORS = 3.0
_LARGEST_EXPONENT = 100.0


def log_increment(n_c: int, x_c: int, n_t: int, x_t: int, *, rr0: float, design_effect: float) -> tuple[float, ...]:
    """ln L_g of one closed batch for each g, tempered. A batch holds both arms; carry counts until it does.

    n_c, n_t       traces of control and treatment in the batch, >= 1
    x_c, x_t       those with an event, 0 to n
    rr0            the relative risk that counts as unchanged, > 0 (frozen_rr0)
    design_effect  d, >= 1 (design_effect)

    >>> [round(step, 6) for step in log_increment(900, 9, 100, 4, rr0=1.0, design_effect=2.0)]
    [0.235926, 0.493794, 0.766778, 1.012134, 0.947996]
    """
    require_count("n_c", n_c, at_least=1)
    require_count("n_t", n_t, at_least=1)
    require_part("x_c", x_c, "n_c", n_c)
    require_part("x_t", x_t, "n_t", n_t)
    require_between("rr0", rr0, 0, math.inf)
    if not 1 <= design_effect < math.inf:
        raise StatisticsInputError(f"design_effect is {design_effect!r}; it must be a finite number of at least 1")
    share, events = n_t * rr0 / (n_t * rr0 + n_c), x_t + x_c
    return tuple((x_t * g - events * math.log1p(share * math.expm1(g))) / design_effect for g in LOG_GROWTHS)


def step(log_m: Sequence[float], log_l: Sequence[float]) -> tuple[float, ...]:
    """ln M of each alternative after one more batch: ln L + ln(M + 1). Begin with START; batches come in ledger order.

    log_m  ln M before, -inf where M is 0
    log_l  ln L of the batch, one for each

    >>> [round(value, 6) for value in step(step((-math.inf,), (math.log(3),)), (math.log(0.5),))]
    [0.693147]
    """
    return tuple(increment + _log_one_plus(m) for m, increment in zip(log_m, log_l, strict=True))


def log_m(logs: Sequence[float]) -> float:
    """ln of the mixture, the plain mean of all M; alarm when it reaches log_threshold. -inf before the first batch.

    logs  ln M of each alternative, at least one; their order does not matter

    >>> round(log_m((0.0, -math.inf)), 6), log_m(START)
    (-0.693147, -inf)
    """
    if not logs or not all(value < math.inf for value in logs):
        raise StatisticsInputError(f"logs are {list(logs)!r}; a mixture needs at least one member, all below infinity")
    highest = max(logs)
    if highest == -math.inf:
        return highest
    return highest + math.log(math.fsum(math.exp(value - highest) for value in logs) / len(logs))


def log_threshold(*, updates: int, false_alarms: float, streams: int = 1) -> float:
    """ln A, for a number of false alarms tolerated in a number of batches.

    updates       batches of one stream within the period that the tolerance speaks of, >= 1
    false_alarms  tolerated within that period, of all streams together, > 0; below 1 it is a probability
    streams       detectors that share the tolerance, >= 1

    >>> round(math.exp(log_threshold(updates=1_000_000, false_alarms=0.01)))
    100000000
    """
    require_count("updates", updates, at_least=1)
    require_count("streams", streams, at_least=1)
    require_between("false_alarms", false_alarms, 0, math.inf)
    return math.log(updates) + math.log(streams) - math.log(false_alarms)


def design_effect(events_by_group: Sequence[int], n_by_group: Sequence[int]) -> float | None:
    """d, the variance of a rate between groups of units over that of independent events, at least 1.

    events_by_group  traces with an event, 0 to n, of one arm, one number per group of units
    n_by_group       traces, >= 0

    None where nothing can be said: fewer than two occupied groups, or no trace or all of them with an event.
    The numerator is the jackknife variance of stats/contrast.py.

    >>> round(design_effect([0, 4, 0, 0, 4, 0], [5, 5, 5, 5, 5, 5]), 6)
    4.363636
    """
    groups = [(x, n) for x, n in zip(events_by_group, n_by_group, strict=True) if n]
    for x, n in groups:
        require_part("events_by_group", x, "n_by_group", n)
    events, total, occupied = sum(x for x, _ in groups), sum(n for _, n in groups), len(groups)
    if occupied < 2 or not 0 < events < total:
        return None
    # Exact integers up to the one division: the deviation of a group is (x total - events n) / total.
    squares = math.fsum(((x * total - events * n) / (total * (total - n))) ** 2 for x, n in groups)
    between = (occupied - 1) / occupied * squares
    return max(1.0, between * total**3 / (events * (total - events)))


def frozen_rr0(
    x_c: int, n_c: int, x_t: int, n_t: int, *, design_effect: float = 1.0, at_least: float = 1.0
) -> float | None:
    """The relative risk that counts as unchanged: an upper limit of what the first traces showed, three errors up.

    x_c, x_t       traces with an event of control and treatment, 0 to n
    n_c, n_t       traces, 0 to about 100,000 in all
    design_effect  of the events, >= 1; it widens the standard error of ln RR
    at_least       the least result, > 0; 1 where every harm above control's rate counts, 1 + margin where not

    None while control has no event or treatment no trace: there is no ratio yet. A treatment without an event counts
    as having half of one.

    >>> round(frozen_rr0(2_500, 50_000, 2_550, 50_000), 6)
    1.109865
    """
    require_part("x_c", x_c, "n_c", n_c)
    require_part("x_t", x_t, "n_t", n_t)
    require_between("at_least", at_least, 0, math.inf)
    require_between("design_effect", design_effect, 0, math.inf)
    if not x_c or not n_t:
        return None
    events = x_t or 0.5
    error = math.sqrt(design_effect * (1 / x_c + 1 / events))
    return max(at_least, events * n_c / (n_t * x_c) * math.exp(min(_STANDARD_ERRORS * error, _LARGEST_EXPONENT)))


def _log_one_plus(log_value: float) -> float:
    """ln(1 + e**x), for x from -inf up without overflow."""
    return max(log_value, 0.0) + math.log1p(math.exp(-abs(log_value)))

"""e-BH: which of many streams stand out, for the order in which people look at them. It stops nothing.

Of m e-values the k largest stand out, for the largest k at which the k-th is at least m / (k alpha). At one moment the
share of false ones among them is at most alpha on average, however the streams depend. Over many looks that no longer
holds, so a stream may stand out and fall back; alarms go by stats/bonferroni.py.

Source: Wang & Ramdas, J. R. Statist. Soc. B 84(3), 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stoploss.stats.errors import StatisticsInputError, require_between


def standing_out(log_es: Sequence[float], alpha: float) -> tuple[int, ...]:
    """Places of the streams that stand out, strongest first; of equal ones the earlier.

    log_es  ln of each stream's evidence now, not of its highest; -inf for none
    alpha   share of false ones tolerated, in (0, 1)

    >>> standing_out([math.log(e) for e in (1.2, 61.0, 0.4, 95.0)], alpha=0.05)
    (3, 1)
    """
    require_between("alpha", alpha, 0, 1)
    if any(math.isnan(log_e) for log_e in log_es):
        raise StatisticsInputError(f"log_es are {list(log_es)!r}; each must be a number")
    order = sorted(range(len(log_es)), key=lambda place: (-log_es[place], place))
    needed = math.log(len(log_es) / alpha) if log_es else math.inf
    standing = [k for k, place in enumerate(order, start=1) if log_es[place] + math.log(k) >= needed]
    return tuple(order[: standing[-1]]) if standing else ()

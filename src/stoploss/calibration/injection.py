"""Known harm of a stated size in what one guardrail judges: the treatment's values as they would be, for every request.

Only the metric's own columns change. Levels move by a share or an amount; where failures count as slow, they count as
slower. Of rates, chosen requests without the event become requests with one. A share beyond a threshold rises because
all values move by the amount that it takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stoploss.calibration.chance import uniform, words
from stoploss.calibration.judged import beyond, scored, threshold_of
from stoploss.calibration.requests import IntArray, Requests
from stoploss.experiment import Experiment
from stoploss.metrics import LARGEST, LOG_SCALE, MISSING, column_name
from stoploss.rules.guardrail_plan import GuardrailPlan

Mask = npt.NDArray[np.bool_]
STRUCK = 3
WITHOUT_MARGIN = 0.20
"""A guardrail without any margin is harmed by a fifth of control's value for each time beyond the first."""
ALL = 0.99
"""What is better when higher cannot lose more than it has."""


@dataclass(frozen=True, slots=True)
class Harm:
    """How much worse the treatment is than control in what a guardrail judges.

    size   on the scale of the margin: a share of control's value where it is relative, or in the metric's unit
    scale  integers per unit of the plain metric
    """

    plan: GuardrailPlan
    size: float
    relative: bool
    scale: int

    @property
    def text(self) -> str:
        """For people: "error_rate +20 %"."""
        return f"{watched(self.plan)} {size_text(self.plan, self.size, relative=self.relative)}"


def watched(plan: GuardrailPlan) -> str:
    """The metric and, where there is one, its transform: "latency_ms (log)"."""
    kind = plan.reading.transform
    return plan.metric if kind == "none" else f"{plan.metric} ({kind})"


def size_text(plan: GuardrailPlan, size: float, *, relative: bool) -> str:
    """A harm's size as people say it: "+20 %", or "−0.05" where less is worse."""
    sign = "+" if plan.worse == "higher" else "−"
    return f"{sign}{100 * size:.3g} %" if relative else f"{sign}{size:.3g}"


def harm_of(experiment: Experiment, index: int, times: float) -> Harm:
    """Harm of a guardrail's metric, `times` its margin; once is the largest that is still allowed."""
    guardrail = experiment.spec.guardrails[index]
    plan, scale = GuardrailPlan.of(experiment, index, guardrail), experiment.metric(guardrail.metric).scale
    if plan.absolute:
        return Harm(plan, times * plan.absolute, False, scale)
    share = times * plan.relative if plan.relative else WITHOUT_MARGIN * (times - 1)
    return Harm(plan, share if plan.worse == "higher" else min(share, ALL), True, scale)


def harmed(requests: Requests, harm: Harm, *key: int) -> dict[str, IntArray]:
    """The columns that the harm changes, as if the treatment had served every request."""
    metric, log = harm.plan.metric, column_name(harm.plan.metric, "log")
    plain = scored(requests, metric, _plain_timeout(harm))
    if plain is None:
        return {}
    if harm.plan.reading.transform == "exceedance":
        changed = _shifted(plain, harm)
    elif harm.plan.binary:
        changed = np.where(_chosen(plain == 1, plain != MISSING, harm.size, *key), 1, plain)
    else:
        changed = _moved(plain, harm)
    found = {metric: changed}
    if log in requests.metrics:
        found[log] = _logarithm(changed, harm.scale)
    return found


def _plain_timeout(harm: Harm) -> int | None:
    timeout = harm.plan.reading.timeout
    if timeout is None or not harm.plan.log:
        return timeout
    return round(math.exp(timeout / LOG_SCALE) * harm.scale)


def _chosen(event: Mask, known: Mask, size: float, *key: int) -> Mask:
    """Requests that get the event too, so that its rate p becomes p (1 + size): each other one by p size / (1 - p)."""
    rate = int(np.count_nonzero(event)) / max(1, int(np.count_nonzero(known)))
    chance = min(1.0, rate * size / (1 - rate)) if rate < 1 else 0.0
    chosen: Mask = known & ~event & (uniform(words(event.size, STRUCK, *key)) < chance)
    return chosen


def _shifted(values: IntArray, harm: Harm) -> IntArray:
    """Every value is worse by the same amount, so that the share beyond the threshold rises by the harm's size.

    A shift does the same to thresholds nearby, for the judge freezes its own from fewer values.
    """
    reading, known = harm.plan.reading, values != MISSING
    limit, share = threshold_of(values, reading), float(beyond(values, reading)[known].mean())
    worst_first = np.sort(-reading.sign * values[known])
    place = min(worst_first.size - 1, round(min(1.0, share * (1 + harm.size)) * worst_first.size) - 1)
    amount = limit - int(-reading.sign * worst_first[max(0, place)]) + reading.sign
    return np.where(known, np.clip(values + amount, -LARGEST, LARGEST), MISSING)


def _moved(values: IntArray, harm: Harm) -> IntArray:
    sign, held = 1 if harm.plan.worse == "higher" else -1, np.where(values == MISSING, 0, values)
    if harm.relative:
        moved = np.rint(held * (1 + sign * harm.size)).astype(np.int64)
    else:
        moved = held + round(sign * harm.size * harm.scale)
    return np.where(values == MISSING, MISSING, np.clip(moved, -LARGEST, LARGEST))


def _logarithm(values: IntArray, scale: int) -> IntArray:
    """As intake takes it; a value of 0 or less has none."""
    usable = (values != MISSING) & (values > 0)
    logs = np.rint(np.log(np.where(usable, values, 1) / scale) * LOG_SCALE).astype(np.int64)
    return np.where(usable, logs, MISSING)

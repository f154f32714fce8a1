"""Known harm of a stated size in one metric: the treatment's values as they would be, for every request.

Only the metric's own columns change. A rate's harm turns chosen requests without an event into requests with one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stoploss.calibration.chance import uniform, words
from stoploss.calibration.requests import IntArray, Requests
from stoploss.experiment import Experiment, Guardrail
from stoploss.metrics import LARGEST, LOG_SCALE, MISSING

STRUCK = 3
WITHOUT_MARGIN = 0.20
"""A guardrail without any margin is harmed by a fifth of control's value for each further time."""


@dataclass(frozen=True, slots=True)
class Harm:
    """How much worse the treatment is than control in one metric.

    worse     +1: harm makes the metric larger, -1: smaller
    relative  share of control's value; absolute: in the metric's unit. One of the two is None.
    """

    metric: str
    worse: int
    relative: float | None
    absolute: float | None

    @property
    def text(self) -> str:
        """
        >>> Harm("error_rate", 1, 0.2, None).text
        'error_rate +20 %'
        """
        sign = "+" if self.worse > 0 else "−"
        size = f"{self.absolute:g}" if self.relative is None else f"{100 * self.relative:.3g} %"
        return f"{self.metric} {sign}{size}"


def harm_of(guardrail: Guardrail, times: float) -> Harm:
    """Harm of a guardrail's metric, `times` its margin; once is the largest that is still allowed."""
    margin, worse = guardrail.margin, 1 if guardrail.direction == "lower" else -1
    if not (margin.relative or margin.absolute):
        return Harm(guardrail.metric, worse, WITHOUT_MARGIN * (times - 1), None)
    if margin.relative is None:
        return Harm(guardrail.metric, worse, None, times * (margin.absolute or 0.0))
    return Harm(guardrail.metric, worse, times * margin.relative, None)


def harmed(requests: Requests, experiment: Experiment, harm: Harm, *key: int) -> dict[str, IntArray]:
    """The columns that the harm changes, as if the treatment had served every request."""
    metric = experiment.metric(harm.metric)
    own = {name: values for name, values in requests.metrics.items() if name.partition(":")[0] == harm.metric}
    plain = own.get(harm.metric)
    if plain is None:
        return {}
    if metric.binary:
        return {harm.metric: _struck(plain, harm, *key)}
    changed = _moved(plain, harm, metric.scale)
    logs = {name: _moved_log(values, plain, changed) for name, values in own.items() if name.endswith(":log")}
    return {harm.metric: changed, **logs}


def _struck(values: IntArray, harm: Harm, *key: int) -> IntArray:
    """A rate p becomes p (1 + r): each request without an event gets one with chance p r / (1 - p)."""
    known = values != MISSING
    rate = float(values[known].mean()) if known.any() else 0.0
    chance = min(1.0, rate * (harm.relative or 0.0) / (1 - rate)) if rate < 1 else 0.0
    struck = known & (uniform(words(values.size, STRUCK, *key)) < chance)
    return np.where(struck, 1, values)


def _moved(values: IntArray, harm: Harm, scale: int) -> IntArray:
    held = np.where(values == MISSING, 0, values)
    if harm.relative is None:
        moved = held + round(harm.worse * (harm.absolute or 0.0) * scale)
    else:
        moved = np.rint(held * (1 + harm.worse * harm.relative)).astype(np.int64)
    return np.where(values == MISSING, MISSING, np.clip(moved, -LARGEST, LARGEST))


def _moved_log(logs: IntArray, before: IntArray, after: IntArray) -> IntArray:
    """The logarithm moves with the value; where a value was or became 0 or less, it has none."""
    usable = (logs != MISSING) & (before > 0) & (after > 0)
    ratio = np.where(usable, after, 1) / np.where(usable, before, 1)
    return np.where(usable, logs + np.rint(np.log(ratio) * LOG_SCALE).astype(np.int64), MISSING)

"""How long a guardrail needs to find a harm: its streams as drifts towards their bounds (passage.py).

A robust stream (stats/contrast.py) sees a difference D of standard error s / sqrt(n) after n requests, so its z grows
as a Brownian motion of drift D / s; its bound is the critical z of the confidence sequence. An exact stream
(stats/relative_risk.py) sees one event after the other: the share of them in the treatment is its drift, and its bound
is the number in the treatment at which the evidence suffices. Where a cap, threshold or slope is frozen from control's
first values, both begin after them. Corrections for skew and few groups are left out: they matter below the floors.
What a covariate (CUPED) saves is left out too: with one, the guardrail is quicker than this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from stoploss.planning.baseline import Baseline
from stoploss.planning.flow import Flow
from stoploss.planning.passage import time_to_pass
from stoploss.rules.guardrail_plan import TSTAR, GuardrailPlan
from stoploss.rules.reading import REFERENCE
from stoploss.stats.asymptotic import critical_z_one_sided, tuning_rho
from stoploss.stats.bonferroni import log_limit
from stoploss.stats.floors import breach_event_floor, continuous_floors
from stoploss.stats.mixtures import log_mean_exp
from stoploss.stats.relative_risk import LOG_GROWTHS

MOST = 1e10
NEVER = math.inf
ROUNDS, TOLERANCE, ROUNDS_OF_EVENTS = 50, 0.005, 32


@dataclass(frozen=True, slots=True)
class Effect:
    """A harm as a stream sees it, in the column's integers, positive: worse.

    beyond     how far it lies beyond the margin
    treatment, control  factors on the deviation of each arm's mean
    risk       relative risk of the treatment's events
    """

    beyond: float
    treatment: float
    control: float
    risk: float


def effect_of(plan: GuardrailPlan, baseline: Baseline, size: float) -> Effect:
    """A harm of `size` on the margin's own scale: a share of control's value, or an amount in the metric's unit."""
    sign = 1 if plan.worse == "higher" else -1
    if plan.relative is None:
        return Effect((size - (plan.absolute or 0.0)) * plan.scale, 1.0, 1.0, 1.0)
    if plan.log:
        return Effect(abs(math.log1p(sign * size) - math.log1p(sign * plan.relative)) * plan.scale, 1.0, 1.0, 1.0)
    beyond = (size - plan.relative) * abs(baseline.mean)
    arm = math.sqrt(1 + size) if plan.binary else 1 + sign * size
    return Effect(beyond, arm, 1 + sign * plan.relative, 1 + size)


@dataclass(frozen=True, slots=True)
class Watch:
    """A guardrail over control's traffic at one exposure.

    exposure  share of the units in the treatment, in [0, 1]
    """

    plan: GuardrailPlan
    baseline: Baseline
    flow: Flow
    exposure: float

    @property
    def alpha(self) -> float:
        """Error budget of one of its streams for everybody: a rate has two, where its units are more than traces."""
        return self.plan.alpha if not self.plan.binary or self.plan.per_trace else self.plan.alpha / 2

    @property
    def spent(self) -> float:
        """Requests that are gone before the test begins: those that the guardrail's reference is frozen from."""
        if not self.plan.reading.frozen or self.baseline.counted == 0:
            return 0.0
        return REFERENCE / (1 - self.exposure) / self.baseline.counted


def hours_to_find(watch: Watch, size: float, share: float) -> float:
    """Hours by which this share of treatments with a harm of this size is stopped; infinite where it never happens.

    size  on the margin's own scale; share  in (0, 1), 0.5 for the median
    """
    effect = effect_of(watch.plan, watch.baseline, size)
    if effect.beyond <= 0 or not 0 < watch.exposure < 1:
        return NEVER
    streams = [] if watch.plan.binary and watch.plan.per_trace else [_robust]
    streams += [_exact] if watch.plan.binary else []
    return min(stream(watch, effect, share) for stream in streams)


def _robust(watch: Watch, effect: Effect, share: float) -> float:
    """Requests that are alike count for less the more of them a unit has sent: found by repeated substitution."""
    baseline, flow = watch.baseline, watch.flow
    hours, likeness = 0.0, 1.0
    for _ in range(ROUNDS):
        n = _requests_needed(watch, effect, share, likeness)
        if n is None:
            return NEVER
        hours = flow.hours_until_requests(watch.spent + n / baseline.counted)
        before, likeness = likeness, baseline.likeness.at(n, n / max(1.0, flow.units_by(hours)))
        if likeness <= before * (1 + TOLERANCE):
            break
    return max(hours, _floor_hours(watch, effect))


def _requests_needed(watch: Watch, effect: Effect, share: float, likeness: float) -> float | None:
    baseline, exposure, alpha = watch.baseline, watch.exposure, watch.alpha
    rest = 1 - exposure
    spread = math.sqrt(likeness * (effect.treatment**2 / exposure + effect.control**2 / rest)) * baseline.deviation
    if spread == 0 or baseline.counted == 0:
        return None
    rho = tuning_rho(alpha, TSTAR, sided="one")

    def bound(n: float) -> float:
        return critical_z_one_sided(4 * exposure * rest * n * rho * rho, alpha) * math.sqrt(n)

    return time_to_pass(share, effect.beyond / spread, bound, least=1.0, most=MOST)


def _floor_hours(watch: Watch, effect: Effect) -> float:
    """When there are units enough for the robust stream to speak: in the smaller arm, or with an event."""
    exposure, flow = watch.exposure, watch.flow
    if watch.plan.binary:
        events = breach_event_floor(event_units_treatment=0, alpha=watch.alpha).required
        seen = exposure * min(1.0, watch.baseline.event_units * effect.risk)
        return flow.hours_until_units(events / seen) if seen > 0 else NEVER
    units = continuous_floors(n_eff=1.0, units_control=0, units_treatment=0, alpha=watch.alpha)[0].required
    return flow.hours_until_units(units / min(exposure, 1 - exposure))


def _exact(watch: Watch, effect: Effect, share: float) -> float:
    baseline, exposure = watch.baseline, watch.exposure
    per_unit = baseline.first_rate * (exposure * effect.risk + 1 - exposure)
    if per_unit == 0:
        return NEVER
    allowed, true = (_treated_share(exposure, risk) for risk in (watch.plan.rr0, effect.risk))
    scale = math.sqrt(true * (1 - true))
    needed = _needed(allowed, log_limit(watch.alpha, 1.0))
    events = time_to_pass(
        share, (true - allowed) / scale, lambda n: (needed(n) - allowed * n) / scale, least=1.0, most=MOST
    )
    if events is None:
        return NEVER
    known = watch.flow.units_by(watch.flow.hours_until_requests(watch.spent))
    return watch.flow.hours_until_units(known + events / per_unit)


def _treated_share(exposure: float, risk: float) -> float:
    return exposure * risk / (exposure * risk + 1 - exposure)


def _needed(allowed: float, limit: float) -> Callable[[float], float]:
    """Of n events, how many in the treatment make the evidence suffice; infinite where all would not."""
    costs = [math.log1p(allowed * math.expm1(growth)) for growth in LOG_GROWTHS]

    def evidence(treated: float, n: float) -> float:
        return log_mean_exp([treated * g - n * cost for g, cost in zip(LOG_GROWTHS, costs, strict=True)])

    def needed(n: float) -> float:
        if evidence(n, n) < limit:
            return math.inf
        low, high = 0.0, n
        for _ in range(ROUNDS_OF_EVENTS):
            middle = (low + high) / 2
            low, high = (middle, high) if evidence(middle, n) < limit else (low, middle)
        return high

    return needed

"""The worth of a treatment in one number: Delta U = Delta Q / q0 - lambda_c Delta C / c0 - lambda_r Delta R.

Q is quality, C cost, R the weighted harm events of a trace. Each mean is over its own rows, so a quality that only some
traces were scored for may stand beside a cost that all have. q0 and c0 are control's means frozen before the test
(from its first units, which are then left out of it): a running mean moves with the data and ships what is worthless.
lambda_c is the relative quality given up for twice the cost, lambda_r that for one weighted harm event a trace.

The terms are correlated, and a unit returns, so the sum's error is that of its groups of units: with inf_g of each term
as in stats/contrast.py, inf_U = inf_Q / q0 - lambda_c inf_C / c0 - lambda_r inf_R and se = sqrt(sum inf_U**2), then the
corrections and the evidence of a contrast. All differences here are treatment minus control: above 0 is more.

Few units with a harm event leave the error of Delta R unknown. `rare_risk_limits` then takes the worst that the data
allow. Sources: derived and simulated for this product; Fieller, J. R. Statist. Soc. B 16(2), 1954 (flip_lambda).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stoploss.stats.asymptotic import critical_z_one_sided, log_e_one_sided, tuning_rho
from stoploss.stats.contrast import ClosedEpochs
from stoploss.stats.corrections import correct_few_groups, correct_skew, undo_few_groups, undo_skew
from stoploss.stats.errors import StatisticsInputError, require_between, require_count, require_part
from stoploss.stats.floors import Floor
from stoploss.stats.one_rate import rate_limits

FloatArray = npt.NDArray[np.float64]

UNITS_OF_COMMON_RISK = 40
"""Units with a harm event that each arm needs before the error of Delta R may be trusted."""


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A difference of two arms' means, treatment minus control, or a linear combination of such.

    difference  in the metric's integer unit (a combination: dimensionless)
    influence   of each group of units on it, float64 of shape (groups,); se**2 is the sum of squares
    clock       4 n_T n_C / (n_T + n_C) summed over epochs, > 0; a combination has its slowest part's
    n_eff       effective number of groups of the arm that has fewer, >= 1; a combination has its smallest part's
    """

    difference: float
    influence: FloatArray
    clock: float
    n_eff: float


@dataclass(frozen=True, slots=True)
class Objective:
    """What turns three differences into one. Frozen before the test.

    quality_0, cost_0  control's means in the columns' integer units, > 0
    risk_0             integer units of one weighted harm event a trace, > 0
    lambda_cost        relative quality given up per 100 % of cost, >= 0
    lambda_risk        relative quality given up per weighted harm event a trace, >= 0
    """

    quality_0: float
    cost_0: float
    lambda_cost: float
    lambda_risk: float
    risk_0: float = 1.0

    def __post_init__(self) -> None:
        for name in ("quality_0", "cost_0", "risk_0"):
            require_between(name, getattr(self, name), 0, math.inf)
        for name in ("lambda_cost", "lambda_risk"):
            if not 0 <= getattr(self, name) < math.inf:
                raise StatisticsInputError(f"{name} is {getattr(self, name)!r}; it must be a finite number from 0 up")


@dataclass(frozen=True, slots=True)
class Estimate:
    """One term judged.

    value         the estimate; lower, upper  its limits, each of which holds at all looks with error alpha
    se            its standard error, >= 0
    log_e_above   evidence against "0 or less", log_e_below against "0 or more"; each speaks from ln(1 / alpha) up
    """

    value: float
    lower: float
    upper: float
    se: float
    log_e_above: float
    log_e_below: float


@dataclass(frozen=True, slots=True)
class Utility:
    """Delta U and its terms, each with the sign with which it enters the sum: above 0 speaks for the treatment.

    risk  None where the experiment defines none
    """

    total: Estimate
    quality: Estimate
    cost: Estimate
    risk: Estimate | None


@dataclass(frozen=True, slots=True)
class Flip:
    """The prices lambda >= 0 at which the sum is not known to be above or below 0; it is on either side of them.

    lower, upper  the ends of the set; estimate, inside them, is where the estimated sum is 0
    """

    lower: float
    estimate: float
    upper: float


def term(combined: ClosedEpochs, cell: int = 0) -> Term | None:
    """A metric's difference from all its epochs, the open one folded in (contrast.close_epoch with Margin()).

    None while no epoch has two occupied groups of units in both arms.
    """
    weight = float(combined.weight[cell])
    if weight == 0:
        return None
    masses = (combined.control_mass[cell], combined.treatment_mass[cell])
    return Term(
        difference=float(combined.weighted_difference[cell]) / weight,
        influence=combined.influence[cell] / weight,
        clock=4 * weight,
        n_eff=weight * weight / max(_sum_of_squares(mass) for mass in masses),
    )


def combine(*parts: tuple[float, Term]) -> Term:
    """The sum of factor * term over one or more parts. All terms have the same groups of units.

    >>> two = Term(2.0, np.array([0.3, -0.3]), 100.0, 40.0), Term(1.0, np.array([0.1, -0.1]), 80.0, 50.0)
    >>> both = combine((1.0, two[0]), (-0.5, two[1]))
    >>> both.difference, both.influence.tolist(), both.clock, both.n_eff
    (1.5, [0.25, -0.25], 80.0, 40.0)
    """
    influence = np.zeros_like(parts[0][1].influence)
    for factor, part in parts:
        influence = influence + factor * part.influence
    return Term(
        difference=math.fsum(factor * part.difference for factor, part in parts),
        influence=influence,
        clock=min(part.clock for _, part in parts),
        n_eff=min(part.n_eff for _, part in parts),
    )


def estimate(judged: Term, *, alpha: float, tstar: float) -> Estimate:
    """A term's value with limits and evidence, as of a contrast with the margin 0.

    alpha  error budget of each side, in (0, 0.5); lower and upper together have error 2 * alpha
    tstar  traces at which the bounds are tightest, > 0; fixed for an experiment

    A term without any variation has an infinite interval around it, hence no evidence.

    >>> found = estimate(Term(2.0, np.array([0.3, -0.2, 0.1, -0.2] * 16), 900.0, 60.0), alpha=0.05, tstar=5000)
    >>> [round(number, 6) for number in (found.lower, found.upper, found.se)]
    [-3.421676, 7.942154, 1.697056]
    """
    se, k = math.sqrt(_sum_of_squares(judged.influence)), judged.clock * tuning_rho(alpha, tstar, sided="one") ** 2
    if se == 0:
        return Estimate(judged.difference, -math.inf, math.inf, 0.0, 0.0, 0.0)
    # Divided first: the cubes of a term with a tiny price would vanish.
    standard = judged.influence / se
    kappa, reach = _dot(standard * standard, standard), critical_z_one_sided(k, alpha)
    below, above = (se * undo_skew(undo_few_groups(z, judged.n_eff), kappa) for z in (reach, -reach))
    z = correct_few_groups(correct_skew(judged.difference / se, kappa), judged.n_eff)
    value = judged.difference
    return Estimate(value, value - below, value - above, se, log_e_one_sided(z, k), log_e_one_sided(-z, k))


def delta_u(
    quality: Term, cost: Term, risk: Term | None, objective: Objective, *, alpha: float, tstar: float
) -> Utility:
    """Delta U and its three terms; alpha and tstar as in estimate. A term with the price 0 is 0, and known to be."""
    parts = _parts(quality, cost, risk, objective)
    total = estimate(combine(*parts), alpha=alpha, tstar=tstar)
    terms = [
        estimate(combine(part), alpha=alpha, tstar=tstar) if part[0] else Estimate(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        for part in parts
    ]
    return Utility(total, terms[0], terms[1], terms[2] if risk else None)


def flip_lambda_cost(
    quality: Term, cost: Term, risk: Term | None, objective: Objective, *, alpha: float, tstar: float
) -> Flip | None:
    """The lambda_cost at which the verdict on Delta U flips, all else as it is; None where no price flips it."""
    rest = _parts(quality, cost, risk, replace(objective, lambda_cost=0.0))
    return flip_lambda(combine(*rest), combine((-1 / objective.cost_0, cost)), alpha=alpha, tstar=tstar)


def flip_lambda_risk(
    quality: Term, cost: Term, risk: Term, objective: Objective, *, alpha: float, tstar: float
) -> Flip | None:
    """The lambda_risk at which the verdict on Delta U flips, all else as it is; None where no price flips it."""
    rest = _parts(quality, cost, None, objective)
    return flip_lambda(combine(*rest), combine((-1 / objective.risk_0, risk)), alpha=alpha, tstar=tstar)


def flip_lambda(fixed: Term, priced: Term, *, alpha: float, tstar: float) -> Flip | None:
    """The lambda >= 0 with |z(fixed + lambda * priced)| <= bound: a quadratic in lambda, after Fieller.

    None where the set has no end above 0: priced is not known to differ from 0, so that no price, however high, would
    give a sure verdict, or the verdict is the same at every price. The bound includes the correction for few groups and
    leaves out that for skew, which changes with lambda.

    >>> flat = np.array([0.01, -0.01] * 50)
    >>> found = flip_lambda(Term(1.0, flat, 9e3, 90.0), Term(-2.0, flat[::-1], 9e3, 90.0), alpha=0.05, tstar=5000)
    >>> [round(number, 6) for number in (found.lower, found.estimate, found.upper)]
    [0.416739, 0.5, 0.56246]
    """
    both = combine((1.0, fixed), (1.0, priced))
    k = both.clock * tuning_rho(alpha, tstar, sided="one") ** 2
    bound = undo_few_groups(critical_z_one_sided(k, alpha), both.n_eff) ** 2
    if not bound < math.inf:
        return None
    square = priced.difference**2 - bound * _dot(priced.influence, priced.influence)
    half_linear = fixed.difference * priced.difference - bound * _dot(fixed.influence, priced.influence)
    constant = fixed.difference**2 - bound * _dot(fixed.influence, fixed.influence)
    if square <= 0:
        return None
    centre = -half_linear / square
    # The sum's own zero lies in the set, so a negative discriminant is rounding.
    reach = math.sqrt(max(centre * centre - constant / square, 0.0))
    if centre + reach <= 0:
        return None
    return Flip(max(centre - reach, 0.0), max(-fixed.difference / priced.difference, 0.0), centre + reach)


@dataclass(frozen=True, slots=True)
class RiskUnits:
    """The first traces of an arm's units.

    units       how many, >= 0
    with_event  those with a harm event, 0 to units
    """

    units: int
    with_event: int

    def __post_init__(self) -> None:
        require_count("units", self.units)
        require_part("with_event", self.with_event, "units", self.units)


def risk_is_rare(event_units_control: int, event_units_treatment: int) -> bool:
    """Whether either arm has too few units with a harm event for the error of Delta R to be trusted."""
    return min(event_units_control, event_units_treatment) < UNITS_OF_COMMON_RISK


def rare_risk_limits(
    quality: Term,
    cost: Term,
    objective: Objective,
    *,
    control: RiskUnits,
    treatment: RiskUnits,
    worst: float,
    alpha: float,
    tstar: float,
) -> tuple[float, float]:
    """Lower and upper limit of Delta U while harm events are rare, each with error alpha at all looks.

    control, treatment  first traces, for the rate of traces with any harm event
    worst               the highest number of weighted harm events that one trace can have, > 0
    alpha, tstar        as in estimate; alpha is halved between quality with cost, and risk

    The lower limit takes the treatment's risk at its upper limit and control's as 0; the upper limit the reverse.
    """
    require_between("worst", worst, 0, math.inf)
    rest = estimate(combine(*_parts(quality, cost, None, objective)), alpha=alpha / 2, tstar=tstar)
    risk_t, risk_c = (rate_limits(arm.with_event, arm.units, alpha / 2)[1] for arm in (treatment, control))
    price = objective.lambda_risk * worst
    return rest.lower - price * risk_t, rest.upper + price * risk_c


def judged_units_floors(judged_control: int, judged_treatment: int) -> tuple[Floor, ...]:
    """Units with a quality score that each arm needs: 100, or 200 where the arms are more uneven than 70/30.

    >>> [floor.required for floor in judged_units_floors(900, 120)]
    [200, 200]
    """
    require_count("judged_control", judged_control)
    require_count("judged_treatment", judged_treatment)
    fewer, total = min(judged_control, judged_treatment), judged_control + judged_treatment
    required = 200 if 10 * fewer < 3 * total else 100
    return (
        Floor("judged units in the treatment arm", judged_treatment, required),
        Floor("judged units in the control arm", judged_control, required),
    )


def _parts(quality: Term, cost: Term, risk: Term | None, objective: Objective) -> list[tuple[float, Term]]:
    """Each term with its factor in Delta U; the risk, if any, comes last."""
    parts = [(1 / objective.quality_0, quality), (-objective.lambda_cost / objective.cost_0, cost)]
    return parts if risk is None else [*parts, (-objective.lambda_risk / objective.risk_0, risk)]


def _dot(a: FloatArray, b: FloatArray) -> float:
    return math.fsum((a * b).tolist())


def _sum_of_squares(values: FloatArray) -> float:
    return _dot(values, values)

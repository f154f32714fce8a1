"""Small-sample corrections of a z value: for skew (Hall) and for few groups, with their inverses.

Both are increasing in z, so a limit found on the corrected scale can be carried back to the metric's own scale.

Sources: Hall, J. R. Statist. Soc. B 54(1), 1992 (the cubic transformation that removes skewness and stays
monotone); Wallace, Ann. Math. Statist. 30, 1959 (normal approximation to Student's t).
"""

from __future__ import annotations

import math

from stoploss.stats.errors import StatisticsInputError


def correct_skew(z: float, kappa: float) -> float:
    """z with the first-order effect of skewness removed.

    z      estimate in units of its standard error, finite
    kappa  sum of cubes over the 3/2 power of the sum of squares of the influences, finite, dimensionless

    >>> round(correct_skew(1.3574366386822552, 0.17561017300621026), 9)
    1.497423668
    """
    _require_finite("z", z)
    _require_finite("kappa", kappa)
    bent = kappa * z * z / 3
    return z + bent + bent * kappa * z / 9 + kappa / 6


def undo_skew(z_hall: float, kappa: float) -> float:
    """The z that correct_skew turns into z_hall.

    The cubic is ((1 + kappa z / 3)**3 - 1) / kappa + kappa / 6, so the inverse is a cube root.

    >>> round(undo_skew(1.497423667705241, 0.17561017300621026), 9)
    1.357436639
    """
    if kappa == 0:
        return z_hall
    cube = kappa * (z_hall - kappa / 6)
    root_minus_one = math.expm1(math.log1p(cube) / 3) if cube > -0.5 else math.cbrt(1 + cube) - 1
    return 3 * root_minus_one / kappa


def correct_few_groups(z: float, n_eff: float) -> float:
    """z as a normal quantile, where its standard error was estimated from n_eff groups (like Student's t).

    z      finite
    n_eff  effective number of groups, >= 1; at 1 there is no information and the result is 0

    >>> round(correct_few_groups(1.497423667705241, 14.154116059379216), 9)
    1.412313128
    """
    _require_finite("z", z)
    nu = _degrees_of_freedom(n_eff)
    if nu == 0:
        return 0.0
    return math.copysign((8 * nu + 1) / (8 * nu + 3) * math.sqrt(nu * math.log1p(z * z / nu)), z)


def undo_few_groups(z_corrected: float, n_eff: float) -> float:
    """The z that correct_few_groups turns into z_corrected; infinite where no z can.

    >>> round(undo_few_groups(1.4123131275535805, 14.154116059379216), 9)
    1.497423668
    """
    nu = _degrees_of_freedom(n_eff)
    if z_corrected == 0:
        return 0.0
    if nu == 0:
        return math.copysign(math.inf, z_corrected)
    t = z_corrected * (8 * nu + 3) / (8 * nu + 1)
    exponent = t * t / nu
    # exp overflows a double above 709; a limit that far out says nothing.
    return math.copysign(math.sqrt(nu * math.expm1(exponent)) if exponent < 700 else math.inf, z_corrected)


def _degrees_of_freedom(n_eff: float) -> float:
    if not 1 - 1e-9 <= n_eff < math.inf:
        raise StatisticsInputError(f"n_eff is {n_eff!r}; an effective number of groups is finite and at least 1")
    return max(n_eff - 1, 0.0)


def _require_finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise StatisticsInputError(f"{name} is {value!r}; it must be a finite number")

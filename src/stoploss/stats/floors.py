"""How much there must be before a verdict is spoken: the floors under the asymptotic recipe.

Below them the approximation has not been shown to hold, so the verdict stays "undecided" and says what is missing.
Source: simulated for this product, 600 to 4,000 runs a cell, sessions and heavy users, 50/50 to 99/1.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoploss.stats.errors import require_between, require_count, require_part

MINIMUM_EFFECTIVE_GROUPS = 32
MINIMUM_SPREAD = 24
STRICT_BELOW_ALPHA = 0.01
LEAST_UNITS, MOST_UNITS = 200, 500
"""Units that a stream asks for in an arm: any, and a strict one."""
LEAST_EVENTS, MOST_EVENTS = 30, 40
"""Units with an event, likewise."""


@dataclass(frozen=True, slots=True)
class Floor:
    """One requirement and where it stands.

    what      what is counted, in words: "units in the treatment arm"
    observed  how much there is
    required  how much there must be, in the same unit
    """

    what: str
    observed: float
    required: float

    @property
    def met(self) -> bool:
        return self.observed >= self.required


def first_unmet(floors: tuple[Floor, ...]) -> Floor | None:
    """The first requirement that does not hold, or None."""
    return next((floor for floor in floors if not floor.met), None)


def continuous_floors(*, n_eff: float, units_control: int, units_treatment: int, alpha: float) -> tuple[Floor, ...]:
    """The floors under a contrast of means.

    n_eff    effective number of groups of the combined epochs (Contrast.n_eff)
    units_*  distinct randomisation units seen in the arm, >= 0
    alpha    error budget of this one stream after weighting, in (0, 1); below 0.01 more units are asked for

    >>> first_unmet(continuous_floors(n_eff=60.0, units_control=900, units_treatment=140, alpha=0.01))
    Floor(what='units in the treatment arm', observed=140, required=200)
    """
    require_count("units_control", units_control)
    require_count("units_treatment", units_treatment)
    required = required_units(alpha)
    return (
        Floor("units in the treatment arm", units_treatment, required),
        Floor("units in the control arm", units_control, required),
        groups_floor(n_eff),
    )


def groups_floor(n_eff: float) -> Floor:
    """At least 32 effective groups, counted after weighting by traffic."""
    return Floor("effective groups of units", n_eff, MINIMUM_EFFECTIVE_GROUPS)


def spread_floor(spread: float, n_eff: float) -> Floor:
    """Enough groups that carry the difference: 24, or a quarter of the effective groups where there are fewer.

    spread, n_eff  of the contrast (Contrast.spread, Contrast.n_eff)

    A failed request counts as the service timeout, a hundred times the usual latency. With 0.2 % errors a handful of
    failures then carries the whole difference, and its error was underestimated: 1.5 % false stops where 1 % was
    promised (1,400 runs); with the floor, 1 run of 1,400.

    >>> spread_floor(8.5, 200.0)
    Floor(what='groups of units that carry the difference', observed=8.5, required=24)
    """
    return Floor("groups of units that carry the difference", spread, min(MINIMUM_SPREAD, n_eff / 4))


def breach_event_floor(*, event_units_treatment: int, alpha: float) -> Floor:
    """The floor under "the treatment has more events" on a 0/1 metric: units with an event, not units.

    Events in the control arm are not asked for: a flawless control must not protect a bad treatment.

    >>> breach_event_floor(event_units_treatment=31, alpha=0.005).met
    False
    """
    require_count("event_units_treatment", event_units_treatment)
    return Floor("treatment units with an event", event_units_treatment, required_events(alpha))


def safe_event_floor(*, units_treatment: int, units_control: int, event_units_control: int, alpha: float) -> Floor:
    """The floor under "the treatment is safe" on a 0/1 metric: events the treatment would show if it were like control.

    units_*              distinct units seen in the arm; no units in control mean that nothing is expected
    event_units_control  those of control with at least one event
    alpha                error budget of this one stream after weighting, in (0, 1)

    >>> safe_event_floor(units_treatment=1_000, units_control=9_000, event_units_control=180, alpha=0.01).observed
    20.0
    """
    require_count("units_treatment", units_treatment)
    require_part("event_units_control", event_units_control, "units_control", units_control)
    expected = units_treatment * event_units_control / max(units_control, 1)
    return Floor("expected treatment units with an event", expected, required_events(alpha))


def required_units(alpha: float) -> int:
    """Units that a stream asks for in each arm."""
    return MOST_UNITS if _is_strict(alpha) else LEAST_UNITS


def required_events(alpha: float) -> int:
    """Units with an event, likewise."""
    return MOST_EVENTS if _is_strict(alpha) else LEAST_EVENTS


def _is_strict(alpha: float) -> bool:
    require_between("alpha", alpha, 0, 1)
    return alpha < STRICT_BELOW_ALPHA

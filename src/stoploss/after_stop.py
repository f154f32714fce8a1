"""What the treatment still serves after it was stopped: counted from the traces themselves, and what contradicts it.

Requests in flight at the decision and those begun until the stop is applied are exposures, and are said as a count. A
request that began after every instance of every controller had applied the stop contradicts them: somebody is woken.
"""

from __future__ import annotations

import numpy as np

from stoploss.commands import Evidence
from stoploss.counting import exposures_after
from stoploss.journal import ExposuresCounted, Finding
from stoploss.outputs import Outputs
from stoploss.rules.rows import TREATMENT, Rows
from stoploss.rules.verdict import Outcome, Reason, Severity
from stoploss.state import ExperimentState

QUIET_TICKS = 2
CONTRADICTS_AFTER = 5_000_000
"""Microseconds after the stop was applied from which a request contradicts it: clocks differ, and flags are polled."""


def count_exposures(state: ExperimentState, rows: Rows, out: Outputs) -> None:
    after = state.current.after_stop
    found = exposures_after(rows, state.desired.decided_at)
    after.in_flight += found.in_flight
    after.after_stop += found.after_stop
    if found.last_at is not None:
        after.last_at = max(after.last_at or 0, found.last_at)
    if found.in_flight or found.after_stop:
        after.quiet_ticks = 0
    after.contradicting += _contradicting(state, rows)
    _say_contradicted(state, out)


def _contradicting(state: ExperimentState, rows: Rows) -> int:
    applied_at = state.desired.applied_at
    if applied_at is None or not rows.exposure:
        return 0
    return int(np.count_nonzero((rows.arm == TREATMENT) & (rows.start > applied_at + CONTRADICTS_AFTER)))


def _say_contradicted(state: ExperimentState, out: Outputs) -> None:
    """At the first such request, and whenever their number has doubled."""
    after = state.current.after_stop
    if after.contradicting < max(1, 2 * after.contradicting_said):
        return
    after.contradicting_said = after.contradicting
    evidence = Evidence(
        rule="after_stop",
        rule_version=1,
        metric="exposures",
        statistic="requests begun after the stop was applied",
        observed=float(after.contradicting),
        bound=0.0,
        n_treatment=after.contradicting,
    )
    reason, words = Reason.SERVED_AFTER_STOP, _sentence(state)
    out.journal(state, Finding(Outcome.BREACH, reason, words, Severity.PAGE, evidence))


def _sentence(state: ExperimentState) -> str:
    required = ", ".join(state.experiment.spec.assignment.controllers)
    by = f"all instances of {required} have applied it" if required else "no controller has to apply it"
    return (
        f"{state.experiment.treatment.name!r} is served although it is {state.lifecycle.replace('_', ' ')} and {by}: "
        f"{state.current.after_stop.contradicting:,} requests began more than {CONTRADICTS_AFTER // 1_000_000} s later "
        "(limit 0); set the flag by hand"
    )


def say_exposures(state: ExperimentState, out: Outputs) -> None:
    """Says how many requests the treatment served after the stop, once no more have come for two seconds.

    Where they go on coming, the stop is not obeyed: that is said at once, and whenever their number has doubled.
    """
    after = state.current.after_stop
    total = after.in_flight + after.after_stop
    after.quiet_ticks += 1
    over = after.quiet_ticks >= QUIET_TICKS
    goes_on = after.after_stop >= 2 * max(1, after.said)
    if total == after.said or not (over or goes_on):
        return
    after.said = total
    out.journal(
        state,
        ExposuresCounted(
            state.desired.command_id or "", after.in_flight, after.after_stop, after.last_at, after.first_harm_at
        ),
    )
    out.registry(state)

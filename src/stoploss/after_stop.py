"""What the treatment still serves after it was stopped: counted from the traces themselves, and what contradicts it.

Requests in flight at the decision and those begun until the stop is applied are exposures, and are said as a count. A
request that began after every instance of every controller had applied the stop contradicts them: somebody is woken.
Of a running experiment the same holds for its stopped segments.
"""

from __future__ import annotations

import numpy as np

from stoploss.commands import Evidence, Segment
from stoploss.counting import Mask, exposures_after, in_segment
from stoploss.journal import ExposuresCounted, Finding
from stoploss.outputs import Outputs
from stoploss.rules.rows import TREATMENT, Rows
from stoploss.rules.verdict import Outcome, Reason, Severity
from stoploss.state import ExperimentState

QUIET_TICKS = 2
CONTRADICTS_AFTER = 5_000_000
"""Microseconds after the stop was applied from which a request contradicts it: clocks differ, and flags are polled."""


def count_exposures(state: ExperimentState, rows: Rows, out: Outputs) -> None:
    """Of a stopped experiment. What contradicts the stop is said at the first, and whenever it has doubled."""
    after = state.current.after_stop
    found = exposures_after(rows, state.desired.decided_at)
    after.in_flight += found.in_flight
    after.after_stop += found.after_stop
    if found.last_at is not None:
        after.last_at = max(after.last_at or 0, found.last_at)
    if found.in_flight or found.after_stop:
        after.quiet_ticks = 0
    after.contradicting += int(np.count_nonzero(_served_against_it(state, rows)))
    if after.contradicting >= max(1, 2 * after.contradicting_said):
        after.contradicting_said = after.contradicting
        lifecycle = state.lifecycle.replace("_", " ")
        _say_contradicted(state, f"although it is {lifecycle}", after.contradicting, None, out)


def count_in_stopped_segments(state: ExperimentState, rows: Rows, out: Outputs) -> None:
    """What a running experiment still serves in segments that were stopped: said at the first, and whenever it has
    doubled."""
    if not state.desired.stopped_segments:
        return
    against, after = _served_against_it(state, rows), state.current.after_stop
    for segment in state.desired.stopped_segments:
        served = int(np.count_nonzero(against & in_segment(state, rows.cells, segment, rows.arm.size)))
        if not served:
            continue
        before = after.in_segments.get(str(segment), 0)
        after.in_segments[str(segment)] = before + served
        if (before + served).bit_length() > before.bit_length():
            _say_contradicted(state, f"in {segment} although that is stopped", before + served, segment, out)


def _served_against_it(state: ExperimentState, rows: Rows) -> Mask:
    applied_at = state.desired.applied_at
    if applied_at is None or not rows.exposure:
        return np.zeros(rows.arm.size, np.bool_)
    against: Mask = (rows.arm == TREATMENT) & (rows.start > applied_at + CONTRADICTS_AFTER)
    return against


def _say_contradicted(state: ExperimentState, where: str, served: int, segment: Segment | None, out: Outputs) -> None:
    evidence = Evidence(
        rule="after_stop",
        rule_version=1,
        metric="exposures",
        segment=segment,
        statistic="requests begun after the stop was applied",
        observed=float(served),
        bound=0.0,
        n_treatment=served,
    )
    required = ", ".join(state.experiment.spec.assignment.controllers)
    by = f"all instances of {required} have applied it" if required else "no controller has to apply it"
    words = (
        f"{state.experiment.treatment.name!r} is served {where} and {by}: {served:,} requests began more than "
        f"{CONTRADICTS_AFTER // 1_000_000} s later (limit 0); set the flag by hand"
    )
    out.journal(state, Finding(Outcome.BREACH, Reason.SERVED_AFTER_STOP, words, Severity.PAGE, evidence))


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

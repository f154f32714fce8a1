"""Rows into the state of a run: at once what may stop an experiment, and at the next tick what is only additive.

Everybody's totals, gates, budgets, drift and health are folded with each entry. The segments' totals and the metrics
that people plot are judged and shown at ticks only, and are exact sums, so their rows wait and are folded together: the
result is the same to the bit, at a fraction of the cost. What waits is never older than a ledger second.
"""

from __future__ import annotations

from stoploss.commands import Micros
from stoploss.lifecycle import LIVE
from stoploss.rules.rows import Asked, Moment, Rows, together
from stoploss.running import Grid
from stoploss.segments import EVERYBODY
from stoploss.state import ExperimentState
from stoploss.stats.exact_sums import BLOCK_ROWS

SECOND = 1_000_000


def moment_of(
    state: ExperimentState, at: Micros, caught_up: bool, due: tuple[str, ...], asked: Asked = Asked.NEWS
) -> Moment:
    return Moment(
        at=at,
        caught_up=caught_up,
        exposed=state.lifecycle in LIVE and state.desired.exposure > 0,
        share=state.share,
        dimensions=state.current.dimensions,
        due=due,
        asked=asked,
    )


def fold(state: ExperimentState, rows: Rows, moment: Moment) -> None:
    """One entry's rows: every rule for everybody now, the rest at the next tick."""
    run = state.current
    waiting = sum(part.size for part in run.waiting)
    if run.waiting_at // SECOND != moment.at // SECOND or waiting + rows.size > BLOCK_ROWS:
        settle(state)
    for rule in state.rules:
        rule.fold(run.rules[rule.key], rows, moment)
    run.waiting.append(rows)
    run.waiting_at = moment.at


def settle(state: ExperimentState) -> None:
    """Folds what waits. May be called at any time: before a tick, a measure, the end of an epoch, a snapshot."""
    run = state.current
    if not run.waiting:
        return
    waiting, run.waiting = run.waiting, []
    segments = tuple(name for name in run.dimensions if name != EVERYBODY)
    moment = moment_of(state, run.waiting_at, caught_up=False, due=segments)
    for exposure in (True, False):
        parts = [rows for rows in waiting if rows.exposure is exposure]
        if parts:
            _fold_together(state, together(parts), moment)


def _fold_together(state: ExperimentState, rows: Rows, moment: Moment) -> None:
    for rule in state.rules:
        if rule.kind == "guardrail":
            rule.fold(state.current.rules[rule.key], rows, moment)
    grid = Grid(rows.arm, rows.cells)
    for column, values in rows.metrics.items():
        binary = ":" not in column and state.experiment.metric(column).binary
        state.current.metrics.fold(column, not binary, grid, values)

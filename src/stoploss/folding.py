"""Rows into the state of a run: at once what may stop an experiment, and at the next tick what is only additive.

Gates, budgets, drift and health are folded with each entry. Segments' totals and the metrics that people plot are
judged and shown at ticks only, and everybody's contrasts where they are worth a look (rules.group_totals). All these
are exact sums, so their rows wait and are folded together: the result is the same to the bit, at a fraction of the
cost. What waits is of one ledger second.
"""

from __future__ import annotations

from dataclasses import replace

from stoploss.commands import Micros
from stoploss.lifecycle import LIVE
from stoploss.rules.rows import Asked, Moment, Rows, together
from stoploss.running import Grid
from stoploss.segments import EVERYBODY
from stoploss.state import ExperimentState
from stoploss.stats.exact_sums import BLOCK_ROWS
from stoploss.waiting import Waiting

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
    """One entry's rows: every rule for everybody now or as soon as it may have news, the rest at the next tick."""
    run = state.current
    if run.waiting.at // SECOND != moment.at // SECOND or run.waiting.rows + rows.size > BLOCK_ROWS:
        settle(state)
    run.waiting.add(rows, moment.at)
    for rule in state.prompt_rules:
        rule.fold(run.rules[rule.key], rows, moment)
    joined: dict[int, Rows] = {}
    for waits in state.waiting_rules:
        own = run.rules[waits.key]
        if run.waiting.fits(rows.size, waits.key):
            own.news = False
        elif unseen := run.waiting.unseen(waits.key, joined):
            waits.fold(own, unseen, moment)
            run.waiting.room[waits.key] = waits.can_wait(own)


def settle(state: ExperimentState) -> None:
    """Folds what waits. May be called at any time: before a tick, a measure, the end of an epoch, a snapshot."""
    run = state.current
    if not run.waiting.parts:
        return
    waiting, run.waiting = run.waiting, Waiting()
    everybody = moment_of(state, waiting.at, caught_up=False, due=(EVERYBODY,))
    joined: dict[int, Rows] = {}
    for rule in state.waiting_rules:
        if unseen := waiting.unseen(rule.key, joined):
            rule.fold(run.rules[rule.key], unseen, everybody)
    segments = tuple(name for name in run.dimensions if name != EVERYBODY)
    _fold_segments(state, joined.get(0) or together(waiting.parts), replace(everybody, due=segments))


def _fold_segments(state: ExperimentState, rows: Rows, moment: Moment) -> None:
    for rule in state.rules:
        if rule.kind in ("guardrail", "interaction"):
            rule.fold(state.current.rules[rule.key], rows, moment)
    grid = Grid(rows.arm, rows.cells)
    for column, values in rows.metrics.items():
        binary = ":" not in column and state.experiment.metric(column).binary
        state.current.metrics.fold(column, not binary, grid, values)

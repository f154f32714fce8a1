"""Baselines that are due to be looked at again: said once in the journal, and once more when somebody has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stoploss.commands import Evidence, Micros
from stoploss.journal import Finding
from stoploss.lifecycle import ENDED
from stoploss.outputs import Outputs
from stoploss.rules.verdict import Outcome, Severity
from stoploss.spec.accountability import Baseline
from stoploss.state import ExperimentState

RULE, VERSION = "baseline", 1
OVERDUE, RECHECKED = "baseline_overdue", "baseline_rechecked"
DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def overdue(state: ExperimentState, at: Micros) -> list[str]:
    """Items of the spec's baselines that are due at a moment, by whole days of UTC."""
    return [one.item for one in state.experiment.spec.baselines if _age_s(state, one, at) >= one.recheck_within]


def remind(state: ExperimentState, out: Outputs) -> None:
    """Says what has become overdue since it was last asked, and what is so no more."""
    baselines = state.experiment.spec.baselines
    if not baselines or state.lifecycle in ENDED:
        return
    said, now = state.governance.reminded, overdue(state, out.at)
    for one in baselines:
        if (one.item in now) != (one.item in said):
            _say(state, one, one.item in now, out)
    state.governance.reminded = now


def _age_s(state: ExperimentState, baseline: Baseline, at: Micros) -> int:
    """Since it was taken, or looked at again."""
    again = state.governance.rechecked.get(baseline.item)
    taken = baseline.taken if again is None else (_EPOCH + timedelta(microseconds=again)).date()
    return ((_EPOCH + timedelta(microseconds=at)).date() - taken).days * DAY_S


def _say(state: ExperimentState, baseline: Baseline, due: bool, out: Outputs) -> None:
    age_s = _age_s(state, baseline, out.at)
    days, allowed = age_s / DAY_S, baseline.recheck_within / DAY_S
    evidence = Evidence(
        rule=RULE,
        rule_version=VERSION,
        metric=baseline.item,
        statistic="seconds since it was looked at",
        observed=float(age_s),
        bound=float(baseline.recheck_within),
    )
    told = f"{baseline.item!r} ({baseline.source}) was looked at {days:g} days ago"
    if due:
        words = f"{told}, and holds for {allowed:g}; look again and say `stoploss note --rechecked`"
        out.journal(state, Finding(Outcome.BREACH, OVERDUE, words, Severity.INFO, evidence))
    else:
        out.journal(state, Finding(Outcome.OK, RECHECKED, f"{told}, and holds again", Severity.INFO, evidence))

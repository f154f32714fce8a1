"""What each guardrail says: its interval, its margin, and its verdict in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.experiment import Experiment
from stoploss.review.cells import Cells, segment_text
from stoploss.review.words import NO_LIMIT, number, quantity, share, signed
from stoploss.spec.guardrails import Guardrail
from stoploss.stats import e_bh
from stoploss.store.rows import RuleVerdict, TimelineEntry

NOT_JUDGED = "not judged"
RANKED_FALSE = 0.05
OF = {"log": "geometric mean", "capped": "capped mean", "exceedance": "share beyond its threshold"}

WORDS = {
    ("breach", "evidence_above_limit"): "breach: worse than the margin allows",
    ("safe", "evidence_of_safety"): "safe: worse than the margin is ruled out, as of now",
    ("undecided", "evidence_between"): "undecided: neither harm nor safety is shown yet",
    ("undecided", "below_floor"): "undecided: too few units for a verdict yet",
    ("undecided", "no_contrast"): "undecided: no epoch has both arms yet",
    (NOT_JUDGED, ""): "not judged yet: no data",
}


@dataclass(frozen=True, slots=True)
class GuardrailResult:
    """What a guardrail last said of everybody, or of one segment value.

    relative             the margin and the limits are shares of control's value; else they are in `unit`
    transform            what the guardrail makes of its metric; log: means are geometric
    lower, upper         limits of the effect (treatment against control) that hold at every look; None: no limit
    observed, bound      the log evidence and the limit at which it decides
    at                   ledger time of the verdict; of the breach, where there was one in this run
    hidden               the cell is too small to be read: all numbers are None
    """

    metric: str
    unit: str
    direction: str
    margin: float
    relative: bool
    transform: str
    alpha: float
    action: str
    segment: str | None
    verdict: str
    reason: str
    words: str
    estimate: float | None
    lower: float | None
    upper: float | None
    observed: float | None
    bound: float | None
    n_control: int | None
    n_treatment: int | None
    at: datetime | None
    hidden: bool


def words_of(verdict: str, reason: str, missing: str = "") -> str:
    """A verdict in words; what it still lacks says more than the reason's own words.

    >>> words_of("undecided", "below_floor", "412 of 500 units in the treatment arm")
    'undecided: 412 of 500 units in the treatment arm'
    >>> words_of("safe", "evidence_of_safety")
    'safe: worse than the margin is ruled out, as of now'
    """
    if verdict == "undecided" and missing:
        return f"undecided: {missing}"
    return WORDS.get((verdict, reason), f"{verdict} ({reason.replace('_', ' ')})")


def effect_text(value: float | None, result: GuardrailResult) -> str:
    """An effect in the margin's own terms."""
    return signed(share(value) if result.relative else quantity(value, result.unit))


def interval_text(result: GuardrailResult) -> str:
    """Both limits, or why there are none."""
    if result.hidden:
        return "hidden"
    if result.lower is None and result.upper is None:
        return "no interval yet"
    ends = [NO_LIMIT if end is None else effect_text(end, result) for end in (result.lower, result.upper)]
    return f"{ends[0]} to {ends[1]}"


def margin_text(result: GuardrailResult) -> str:
    amount = share(result.margin) if result.relative else quantity(result.margin, result.unit)
    return f"may {'rise' if result.direction == 'lower' else 'fall'} by at most {amount}"


def metric_text(result: GuardrailResult) -> str:
    """What the numbers are of: a mean, unless the guardrail transforms its metric."""
    return f"{result.metric} ({OF[result.transform]})" if result.transform in OF else result.metric


def evidence_text(result: GuardrailResult) -> str:
    return f"log evidence {number(result.observed)} of {number(result.bound)}"


def guardrail_results(
    experiment: Experiment, verdicts: Sequence[RuleVerdict], findings: Sequence[TimelineEntry]
) -> tuple[GuardrailResult, ...]:
    """One per guardrail of the spec, in its order: its breach in this run, or else what it said last.

    A breach is sticky until a person resumes, while the measures go on saying what the rule sees now.

    verdicts  of one run
    findings  journal entries of kind 'finding' of the same run
    """
    return tuple(
        _result(experiment, guardrail, _of_everybody(verdicts, index), _breach(guardrail, findings))
        for index, guardrail in enumerate(experiment.spec.guardrails)
    )


def segment_results(
    experiment: Experiment, verdicts: Sequence[RuleVerdict], findings: Sequence[TimelineEntry], cells: Cells
) -> tuple[GuardrailResult, ...]:
    """One per guardrail and segment value that was judged; cells that are hidden without their numbers."""
    return tuple(_segment_results(experiment, verdicts, findings, cells))


def standing_out(results: Sequence[GuardrailResult]) -> tuple[GuardrailResult, ...]:
    """Those whose evidence of harm stands out among all, strongest first: the order in which to look at them.

    At most a share RANKED_FALSE of them is false, on average, at this one look (stats/e_bh.py). It is no alarm.
    """
    evidence = [-math.inf if r.observed is None or r.verdict == "safe" else r.observed for r in results]
    return tuple(results[place] for place in e_bh.standing_out(evidence, RANKED_FALSE))


def _segment_results(
    experiment: Experiment, verdicts: Sequence[RuleVerdict], findings: Sequence[TimelineEntry], cells: Cells
) -> Iterable[GuardrailResult]:
    for index, guardrail in enumerate(experiment.spec.guardrails):
        breaches = _segment_breaches(guardrail, findings)
        seen = {_segment(v): v for v in verdicts if v.rule == f"guardrail[{index}]" and v.segment_dimension}
        for segment in dict.fromkeys([*breaches, *seen]):
            said, breach = seen.get(segment), breaches.get(segment)
            hidden = cells.hides(breach) if breach else bool(said and said.hidden)
            yield _result(experiment, guardrail, said, breach, hidden)


def _segment(row: RuleVerdict | TimelineEntry) -> str | None:
    return segment_text(row.segment_dimension, row.segment_value)


def _of_everybody(verdicts: Sequence[RuleVerdict], index: int) -> RuleVerdict | None:
    rows = [v for v in verdicts if v.rule == f"guardrail[{index}]" and v.segment_dimension is None]
    return rows[-1] if rows else None


def _breaches(guardrail: Guardrail, findings: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """Breaches of this guardrail: a spec may have two on one metric, told apart by their margins."""
    wanted = ("guardrail", guardrail.metric, "breach", _margin(guardrail))
    return [entry for entry in findings if (entry.rule, entry.metric, entry.verdict, entry.margin) == wanted]


def _margin(guardrail: Guardrail) -> float:
    relative, absolute = guardrail.margin.relative, guardrail.margin.absolute
    return relative if relative is not None else absolute or 0.0


def _breach(guardrail: Guardrail, findings: Sequence[TimelineEntry]) -> TimelineEntry | None:
    return next((entry for entry in _breaches(guardrail, findings) if entry.segment_dimension is None), None)


def _segment_breaches(guardrail: Guardrail, findings: Sequence[TimelineEntry]) -> dict[str | None, TimelineEntry]:
    return {_segment(entry): entry for entry in _breaches(guardrail, findings) if entry.segment_dimension is not None}


def _result(
    experiment: Experiment,
    guardrail: Guardrail,
    said: RuleVerdict | None,
    breach: TimelineEntry | None,
    hidden: bool = False,
) -> GuardrailResult:
    row = breach or said
    verdict = (row.verdict or NOT_JUDGED) if row else NOT_JUDGED
    reason = "evidence_above_limit" if breach else said.reason if said else ""
    shown = None if hidden else row
    return GuardrailResult(
        metric=guardrail.metric,
        unit=experiment.metric(guardrail.metric).unit,
        direction=guardrail.direction,
        margin=_margin(guardrail),
        relative=guardrail.margin.relative is not None,
        transform=guardrail.transform,
        alpha=guardrail.alpha,
        action=guardrail.action,
        segment=_segment(row) if row else None,
        verdict=verdict,
        reason=reason,
        words=words_of(verdict, reason, said.missing if said and not breach else ""),
        estimate=shown.estimate if shown else None,
        lower=shown.lower if shown else None,
        upper=shown.upper if shown else None,
        observed=shown.observed if shown else None,
        bound=shown.bound if shown else None,
        n_control=shown.n_control if shown else None,
        n_treatment=shown.n_treatment if shown else None,
        at=row.at if row else None,
        hidden=hidden,
    )

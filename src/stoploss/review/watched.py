"""What beside guardrails, gates and the objective was watched, and what it last said: the split of traffic, drift,
budgets, silence, coverage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.experiment import Experiment
from stoploss.review.chain import FindingLine
from stoploss.review.words import number
from stoploss.store.rows import RuleVerdict

SHOWN_ELSEWHERE = ("guardrail[", "gate", "objective", "interaction[")
GROUPS = (
    ("Sample ratio and exposure", ("sample_ratio", "over_exposure", "declared")),
    ("Drift", ("drift[", "mix", "regression[", "judge_drift", "alignment", "audit")),
    ("Budgets", ("budget[", "forecast[")),
)
OTHERS = "Sight and health"
_INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class WatchLine:
    """What a rule last said of everybody; a breach in the run stays, as the sentence that told it.

    said  the sentence of its last finding, else its reason in words
    """

    group: str
    rule: str
    metric: str | None
    verdict: str
    said: str
    observed: float | None
    bound: float | None
    n_control: int | None
    n_treatment: int | None
    at: datetime


def watched(
    experiment: Experiment, verdicts: Sequence[RuleVerdict], findings: Sequence[FindingLine]
) -> tuple[WatchLine, ...]:
    """By group, in the order of the rules' names.

    verdicts  the newest of one run; findings: all of that run
    """
    rows = [row for row in verdicts if row.segment_dimension is None and not row.rule.startswith(SHOWN_ELSEWHERE)]
    # A rule has several streams; what they say alike is told once.
    lines = dict.fromkeys(_line(experiment, row, findings) for row in rows)
    order = [name for name, _ in GROUPS] + [OTHERS]
    return tuple(sorted(lines, key=lambda line: order.index(line.group)))


def group_of(rule: str) -> str:
    """
    >>> group_of("drift[0]"), group_of("sample_ratio"), group_of("silence")
    ('Drift', 'Sample ratio and exposure', 'Sight and health')
    """
    return next((name for name, begins in GROUPS if rule.startswith(begins)), OTHERS)


def _line(experiment: Experiment, row: RuleVerdict, findings: Sequence[FindingLine]) -> WatchLine:
    told = _last_finding(row, findings) if row.verdict == "breach" else None
    return WatchLine(
        group=group_of(row.rule),
        rule=rule_words(experiment, row.rule),
        metric=row.metric,
        verdict=row.verdict,
        said=told.sentence if told else _reason(row),
        observed=row.observed,
        bound=row.bound,
        n_control=row.n_control,
        n_treatment=row.n_treatment,
        at=row.at,
    )


def _last_finding(row: RuleVerdict, findings: Sequence[FindingLine]) -> FindingLine | None:
    """A finding names its rule without the place in the spec."""
    wanted = (_INDEX.sub("", row.rule), row.metric)
    return next((line for line in reversed(findings) if (line.rule, line.metric) == wanted), None)


def _reason(row: RuleVerdict) -> str:
    words = row.reason.replace("_", " ")
    return f"{words}: {row.missing}" if row.missing else words


def rule_words(experiment: Experiment, rule: str) -> str:
    """'drift[0]' -> 'drift, ADWIN'; a rule without a place in the spec by its name."""
    found = _INDEX.search(rule)
    name = _INDEX.sub("", rule).replace("_", " ")
    if found and name == "drift" and int(found[1]) < len(experiment.spec.drift):
        watch = experiment.spec.drift[int(found[1])]
        return f"drift, {watch.detector}" if watch.metric else "drift of the mix"
    return name


def compared_text(line: WatchLine) -> str:
    """Both numbers that were compared, where there are any."""
    if line.observed is None:
        return ""
    return number(line.observed) if line.bound is None else f"{number(line.observed)} against {number(line.bound)}"


def of_group(lines: Sequence[WatchLine], group: str) -> Iterator[WatchLine]:
    return (line for line in lines if line.group == group)

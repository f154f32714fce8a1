"""Audit: how often do people agree with the judge, on traces sampled for them?

A score carries 1 where a person agrees and less where not. The limits of the rate hold at every look
(stats/one_rate.py); traces are to be sampled for audit by chance, or the rate is that of whatever was picked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss.commands import Action, Evidence, round_significant
from stoploss.metrics import MISSING, SCORE_SCALE
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.spec.health import Audit
from stoploss.stats.one_rate import rate_limits

BATCH = 5_000
LEAST_RENEWED = 200


@dataclass(slots=True)
class AuditState(Newsworthy):
    """Audited traces of the batch, those on which the judge was agreed with, and the limits as of the last tick.

    renewed  a full batch made room for this one; its limits stand until this one has LEAST_RENEWED
    """

    audited: int = 0
    agreed: int = 0
    lower: float = 0.0
    upper: float = 1.0
    renewed: bool = False


@dataclass(frozen=True, slots=True)
class AuditRule:
    score: str
    least: float
    alpha: float
    response: Response
    kind: str = field(default="audit", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "audit"

    @classmethod
    def of(cls, audit: Audit) -> AuditRule:
        action = Action.PAUSE if audit.do == "pause" else None
        return cls(audit.score, audit.min, audit.alpha, Response(action, Severity.HOLD, hold=True))

    def initial(self) -> AuditState:
        return AuditState()

    def fold(self, state: AuditState, rows: Rows, moment: Moment) -> None:
        x = rows.metrics.get(self.score)
        if x is not None:
            state.audited += int(np.count_nonzero(x != MISSING))
            state.agreed += int(np.count_nonzero(x >= SCORE_SCALE))

    def tick(self, state: AuditState, moment: Moment) -> None:
        """A full batch makes room for the next, so that a judge that goes astray late is noticed too."""
        if state.audited >= BATCH:
            state.audited, state.agreed, state.renewed = 0, 0, True
        if state.renewed and state.audited < LEAST_RENEWED:
            return
        state.lower, state.upper = rate_limits(state.agreed, state.audited, self.alpha)

    def close_epoch(self, state: AuditState, moment: Moment) -> None:
        """People audit whatever the share."""

    def judge(self, state: AuditState, moment: Moment) -> Iterator[Verdict]:
        evidence = partial(self._evidence, state)
        if state.upper < self.least:
            yield Verdict("agreement", Outcome.BREACH, Reason.PEOPLE_DISAGREE, evidence, self.response)
        elif state.lower >= self.least:
            yield Verdict("agreement", Outcome.SAFE, Reason.PEOPLE_AGREE, evidence)
        else:
            yield Verdict("agreement", Outcome.UNDECIDED, Reason.EVIDENCE_BETWEEN, evidence)

    def _evidence(self, state: AuditState) -> Evidence:
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.score,
            statistic="share of audited traces on which people agree with the judge",
            observed=round_significant(state.agreed / state.audited) if state.audited else None,
            bound=self.least,
            lower=round_significant(state.lower),
            upper=round_significant(state.upper),
            n_control=state.audited,
        )

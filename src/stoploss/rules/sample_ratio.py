"""Sample ratio: do units arrive in the arms as the split says, and does each stay in one?

A treatment that gets less than its share is partial exposure: some instance does not serve it. Counted as
first_units.py says; source: stats/sample_ratio.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from stoploss.commands import Action, Evidence, round_significant
from stoploss.experiment import Experiment
from stoploss.rules.first_units import FirstUnits
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.stats.bonferroni import log_limit
from stoploss.stats.sample_ratio import log_e
from stoploss.units import ArmSample

ALPHA = 0.001
LIMIT = log_limit(ALPHA, 1.0)
LEAST_CHANGED = 5
CHANGED_SHARE = 0.01


@dataclass(slots=True)
class SampleRatioState(Newsworthy):
    """found: log evidence of another split, as of the last second that was counted."""

    units: FirstUnits = field(default_factory=FirstUnits)
    found: float = 0.0
    sample: ArmSample = field(default_factory=ArmSample)


@dataclass(frozen=True, slots=True)
class SampleRatio:
    timeout_s: int
    response: Response
    kind: str = field(default="sample_ratio", init=False)
    version: int = field(default=2, init=False)

    @property
    def key(self) -> str:
        return "sample_ratio"

    @classmethod
    def of(cls, experiment: Experiment) -> SampleRatio:
        pause = experiment.spec.health.sample_ratio == "pause"
        response = Response(Action.PAUSE if pause else None, Severity.HOLD, hold=True)
        return cls(experiment.spec.assignment.service_timeout, response)

    def initial(self) -> SampleRatioState:
        return SampleRatioState()

    def fold(self, state: SampleRatioState, rows: Rows, moment: Moment) -> None:
        if not state.units.open:
            state.sample, state.news = ArmSample(), True
        counted = state.units.begin(rows, moment)
        if counted is not None:
            before = state.sample.told
            state.sample.add(rows.arm[counted], rows.unit[counted])
            state.news = state.news or state.sample.told != before
            state.units.add(rows, counted)

    def tick(self, state: SampleRatioState, moment: Moment) -> None:
        if state.units.settle(moment, self.timeout_s):
            state.found = log_e(state.units.of())

    def close_epoch(self, state: SampleRatioState, moment: Moment) -> None:
        self.tick(state, moment)
        state.units.close_epoch()
        state.news = True

    def judge(self, state: SampleRatioState, moment: Moment) -> Iterator[Verdict]:
        evidence = partial(self._evidence, state, "log e of another split", state.found, LIMIT)
        if state.found >= LIMIT:
            reason = Reason.PARTIAL_EXPOSURE if _below_its_share(state.units) else Reason.EVIDENCE_ABOVE_LIMIT
            yield Verdict("split", Outcome.BREACH, reason, evidence, self.response)
        else:
            yield Verdict("split", Outcome.OK, Reason.EVIDENCE_BETWEEN, evidence)
        changed, sampled = len(state.sample.changed), len(state.sample.arm_of)
        bound = max(LEAST_CHANGED, CHANGED_SHARE * sampled)
        evidence = partial(self._evidence, state, "units in two variants", float(changed), bound)
        if changed >= bound:
            yield Verdict("stickiness", Outcome.BREACH, Reason.UNIT_IN_TWO_VARIANTS, evidence, self.response)
        else:
            yield Verdict("stickiness", Outcome.OK, Reason.STEADY, evidence)

    def _evidence(self, state: SampleRatioState, statistic: str, observed: float, bound: float) -> Evidence:
        control, treatment = state.units.totals()
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric="units",
            statistic=statistic,
            observed=round_significant(observed),
            bound=round_significant(bound),
            units_control=control,
            units_treatment=treatment,
        )


def _below_its_share(units: FirstUnits) -> bool:
    """Whether fewer units came to the treatment than the split makes expect."""
    epochs = units.of()
    return sum(e.treatment for e in epochs) < sum((e.control + e.treatment) * e.share for e in epochs)

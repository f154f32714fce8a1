"""Sample ratio: do units arrive in the arms as the split says, and does each stay in one?

A treatment that gets less than its share is partial exposure: some instance does not serve it. Counted as
first_units.py says; source: stats/sample_ratio.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from stoploss.commands import Action, Evidence, round_significant
from stoploss.experiment import Experiment
from stoploss.rules.first_units import FirstUnits
from stoploss.rules.rows import Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.stats.bonferroni import log_limit
from stoploss.stats.sample_ratio import log_e
from stoploss.units import ArmSample

ALPHA = 0.001
LEAST_CHANGED = 5
CHANGED_SHARE = 0.01


@dataclass(slots=True)
class SampleRatioState:
    units: FirstUnits = field(default_factory=FirstUnits)
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
            state.sample = ArmSample()
        counted = state.units.begin(rows, moment)
        if counted is not None:
            state.sample.add(rows.arm[counted], rows.unit[counted])
            state.units.add(rows, counted)

    def tick(self, state: SampleRatioState, moment: Moment) -> None:
        state.units.settle(moment, self.timeout_s)

    def close_epoch(self, state: SampleRatioState, moment: Moment) -> None:
        state.units.close_epoch(moment, self.timeout_s)

    def judge(self, state: SampleRatioState, moment: Moment) -> Iterator[Verdict]:
        control, treatment = state.units.totals()
        limit = log_limit(ALPHA, 1.0)
        epochs = state.units.of()
        found = log_e(epochs)
        evidence = self._evidence("log e of another split", found, limit, control, treatment)
        if found >= limit:
            partial = treatment < sum((e.control + e.treatment) * e.share for e in epochs)
            reason = Reason.PARTIAL_EXPOSURE if partial else Reason.EVIDENCE_ABOVE_LIMIT
            yield Verdict("split", Outcome.BREACH, reason, evidence, self.response)
        else:
            yield Verdict("split", Outcome.OK, Reason.EVIDENCE_BETWEEN, evidence)
        changed, sampled = len(state.sample.changed), len(state.sample.arm_of)
        bound = max(LEAST_CHANGED, CHANGED_SHARE * sampled)
        evidence = self._evidence("units in two variants", float(changed), bound, control, treatment)
        if changed >= bound:
            yield Verdict("stickiness", Outcome.BREACH, Reason.UNIT_IN_TWO_VARIANTS, evidence, self.response)
        else:
            yield Verdict("stickiness", Outcome.OK, Reason.STEADY, evidence)

    def _evidence(self, statistic: str, observed: float, bound: float, control: int, treatment: int) -> Evidence:
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

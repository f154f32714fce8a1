"""Sample ratio: do units arrive in the arms as the split says, and does each stay in one?

A unit counts once per experiment, where it is first seen. Requests are ordered by their start and counted after the
service's timeout, or a slower treatment would look like a missing one. Source: stats/sample_ratio.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from stoploss.commands import Action, Evidence, Micros, round_significant
from stoploss.experiment import Experiment
from stoploss.rules.rows import CONTROL, TREATMENT, Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.stats.bonferroni import log_limit
from stoploss.stats.sample_ratio import EpochCounts, log_e
from stoploss.units import ArmSample

ALPHA = 0.001
SECOND = 1_000_000
LEAST_CHANGED = 5
CHANGED_SHARE = 0.01


@dataclass(slots=True)
class EpochUnits:
    """Units first seen in an epoch, and the treatment's share in it."""

    share: float
    control: int = 0
    treatment: int = 0


@dataclass(slots=True)
class SampleRatioState:
    """pending: start second -> [control, treatment], not yet past the service's timeout.

    since  requests that began before this moment were assigned in another epoch, and are not counted in the open one
    """

    epochs: list[EpochUnits] = field(default_factory=list)
    since: Micros = 0
    pending: dict[int, list[int]] = field(default_factory=dict)
    sample: ArmSample = field(default_factory=ArmSample)
    open: bool = False


@dataclass(frozen=True, slots=True)
class SampleRatio:
    timeout_s: int
    response: Response
    kind: str = field(default="sample_ratio", init=False)
    version: int = field(default=1, init=False)

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
        compared = rows.compared & rows.exposure
        if moment.share is None or not 0 < moment.share < 1 or not compared.any():
            return
        if not state.open:
            state.epochs.append(EpochUnits(moment.share))
            state.open, state.sample, state.since = True, ArmSample(), moment.at
        compared &= rows.start >= state.since
        state.sample.add(rows.arm[compared], rows.unit[compared])
        first = compared & rows.first
        seconds, place = np.unique(rows.start[first] // SECOND, return_inverse=True)
        for arm in (CONTROL, TREATMENT):
            counts = np.bincount(place[rows.arm[first] == arm], minlength=seconds.size)
            for second, count in zip(seconds.tolist(), counts.tolist(), strict=True):
                state.pending.setdefault(second, [0, 0])[arm] += count
        self.tick(state, moment)

    def tick(self, state: SampleRatioState, moment: Moment) -> None:
        """Counts the seconds whose requests have all ended, one way or the other."""
        if not state.open:
            return
        closed = moment.at // SECOND - self.timeout_s
        for second in sorted(second for second in state.pending if second <= closed):
            control, treatment = state.pending.pop(second)
            state.epochs[-1].control += control
            state.epochs[-1].treatment += treatment

    def close_epoch(self, state: SampleRatioState, moment: Moment) -> None:
        """What is not past the timeout is dropped: counting it now would favour the quicker arm."""
        self.tick(state, moment)
        state.pending, state.open = {}, False

    def judge(self, state: SampleRatioState, moment: Moment) -> Iterator[Verdict]:
        epochs = [EpochCounts(e.control, e.treatment, e.share) for e in state.epochs]
        control, treatment = sum(e.control for e in epochs), sum(e.treatment for e in epochs)
        limit = log_limit(ALPHA, 1.0)
        found = log_e(epochs)
        evidence = self._evidence("log e of another split", found, limit, control, treatment)
        if found >= limit:
            yield Verdict("split", Outcome.BREACH, Reason.EVIDENCE_ABOVE_LIMIT, evidence, self.response)
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

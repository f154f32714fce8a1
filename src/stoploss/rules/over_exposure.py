"""Over-exposure: more units come to the treatment than are authorised, so what was ordered is not what happens.

First the same desired state is ordered again, since a lost or half-applied command is the likeliest cause. If units
that come after that are over their share too, the treatment is paused. Each step is a one-sided e-process of its own
(stats/sample_ratio.py), the second begun anew. A share below the authorised one is the sample ratio's affair.
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
from stoploss.stats.sample_ratio import TOWARDS_TREATMENT, log_e

ALPHA = 0.001
LIMIT = log_limit(ALPHA, 1.0)
ORDER_AGAIN = Response(Action.SET_EXPOSURE, Severity.PAGE, hold=True)
PAUSE = Response(Action.PAUSE, Severity.PAGE, hold=True)


@dataclass(slots=True)
class OverExposureState(Newsworthy):
    """first: units until the order was given again; after: units since; ordered: it was.

    found  log evidence of either, as of the last second that was counted
    """

    first: FirstUnits = field(default_factory=FirstUnits)
    after: FirstUnits = field(default_factory=FirstUnits)
    ordered: bool = False
    found: list[float] = field(default_factory=lambda: [0.0, 0.0])

    @property
    def counting(self) -> FirstUnits:
        return self.after if self.ordered else self.first


@dataclass(frozen=True, slots=True)
class OverExposure:
    timeout_s: int
    kind: str = field(default="over_exposure", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "over_exposure"

    @classmethod
    def of(cls, experiment: Experiment) -> OverExposure:
        return cls(experiment.spec.assignment.service_timeout)

    def initial(self) -> OverExposureState:
        return OverExposureState()

    def fold(self, state: OverExposureState, rows: Rows, moment: Moment) -> None:
        counted = state.counting.begin(rows, moment)
        if counted is not None:
            state.counting.add(rows, counted)

    def tick(self, state: OverExposureState, moment: Moment) -> None:
        if state.counting.settle(moment, self.timeout_s):
            state.found[state.ordered] = log_e(state.counting.of(), TOWARDS_TREATMENT)

    def close_epoch(self, state: OverExposureState, moment: Moment) -> None:
        """Evidence that was spoken of ends here: what follows the new command is counted from nothing."""
        self.tick(state, moment)
        state.counting.close_epoch()
        state.ordered, state.news = state.ordered or state.found[0] >= LIMIT, True

    def judge(self, state: OverExposureState, moment: Moment) -> Iterator[Verdict]:
        yield self._verdict("above", state.first, state.found[0], Reason.OVER_EXPOSED, ORDER_AGAIN)
        yield self._verdict("above again", state.after, state.found[1], Reason.STILL_OVER_EXPOSED, PAUSE)

    def _verdict(self, stream: str, units: FirstUnits, found: float, reason: Reason, response: Response) -> Verdict:
        evidence = partial(self._evidence, units, found)
        if found >= LIMIT:
            return Verdict(stream, Outcome.BREACH, reason, evidence, response)
        return Verdict(stream, Outcome.OK, Reason.EVIDENCE_BETWEEN, evidence)

    def _evidence(self, units: FirstUnits, found: float) -> Evidence:
        control, treatment = units.totals()
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric="units",
            statistic="log e of a treatment above its share",
            observed=round_significant(found),
            bound=round_significant(LIMIT),
            units_control=control,
            units_treatment=treatment,
        )

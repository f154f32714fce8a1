"""Drift: has an arm moved against its own past, and if so, was it the variant or the world?

Each arm's values are averaged over windows of 32 traces, unit by unit, since traces of one session are alike and would
alarm ADWIN by themselves. The window means are scaled by the control's first ones, frozen, and fed to a detector
(detectors.py). When it fires for an arm, what both arms were before is kept; once both have seen enough windows since,
their shifts are contrasted. Alike: the world moved (provider, traffic). Not alike: that arm moved. Where neither arm's
shift stands out, the alarm is passed over: ADWIN bounds the error of one look, PageHinkley none, and neither the
number of false alarms over weeks.
The past ends where the detector fired: the window that ADWIN itself keeps reaches back beyond the change, and would
thin a shift of one arm until it looked like that of the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from stoploss import metrics
from stoploss.commands import Action, Evidence, Micros, round_significant
from stoploss.experiment import DriftWatch, Experiment
from stoploss.rules.detectors import Detector
from stoploss.rules.group_totals import usable
from stoploss.rules.rows import CONTROL, TREATMENT, Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.segments import EVERYBODY

WINDOW_ROWS = 32
REFERENCE_WINDOWS = 16
KEPT_WINDOWS = 512
LEAST_WINDOWS = 16
SHIFT_Z = 3.3
"""Shifts of two arms that differ by more standard errors than this are not alike."""
STANDS_OUT_Z = 3.0
CONFIRM_WINDOWS = 64
"""An alarm is passed over where this many windows later neither arm's shift is STANDS_OUT_Z standard errors."""


@dataclass(slots=True)
class ArmDrift:
    """One arm.

    values, units  rows of the window that is being filled
    times, means   the last windows: ledger time of their last row, and their mean in integer units
    fed            windows fed to the detector
    before         mean of the windows before an arm moved, and the variance of that mean; empty while none has
    """

    detector: Detector
    values: list[int] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    times: list[Micros] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    windows: int = 0
    fed: int = 0
    before: list[float] = field(default_factory=list)


@dataclass(slots=True)
class DriftState:
    """center, scale: the control's reference; since: ledger time at which an arm moved, None while none has."""

    arms: list[ArmDrift]
    center: float | None = None
    scale: float | None = None
    since: Micros | None = None
    finding: Reason | None = None
    shifts: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Drift:
    index: int
    metric: str
    column: str
    integers_per_unit: int
    detector: str
    params: dict[str, float]
    action: Action | None
    kind: str = field(default="drift", init=False)
    version: int = field(default=2, init=False)

    @property
    def key(self) -> str:
        return f"drift[{self.index}]"

    @classmethod
    def of(cls, experiment: Experiment, index: int, watch: DriftWatch) -> Drift:
        metric = experiment.metric(str(watch.metric))
        action = None if watch.action == "none" else Action(watch.action)
        column = metrics.column_name(metric.name, "none")
        return cls(index, metric.name, column, metric.scale, watch.detector, watch.params, action)

    def initial(self) -> DriftState:
        return DriftState([ArmDrift(Detector(self.detector, self.params)) for _ in (CONTROL, TREATMENT)])

    def fold(self, state: DriftState, rows: Rows, moment: Moment) -> None:
        x = rows.metrics.get(self.column)
        if x is None or state.finding is not None:
            return
        keep = usable(rows, EVERYBODY, x)
        for arm, drift in enumerate(state.arms):
            mine = keep & (rows.arm == arm)
            drift.values += x[mine].tolist()
            drift.units += rows.unit[mine].tolist()
            _close_windows(drift, moment.at)
        self._feed(state)

    def _feed(self, state: DriftState) -> None:
        """Feeds closed windows to the detectors, once the control's first ones have set the scale."""
        if state.center is None and not _freeze_reference(state):
            return
        moved = [at for drift in state.arms for at in _fed(drift, state.center or 0.0, state.scale or 1.0)]
        if moved and state.since is None:
            _keep_the_past(state, min(moved))

    def _ask_the_other(self, state: DriftState) -> Reason | None:
        """Whose shift it was; None while nothing moved, too little came since, or neither shift stands out."""
        if state.since is None:
            return None
        of_control, of_treatment = (_shift(drift, state.since) for drift in state.arms)
        if of_control is None or of_treatment is None:
            return None
        (control, control_var), (treatment, treatment_var) = of_control, of_treatment
        if not (_stands_out(control, control_var) or _stands_out(treatment, treatment_var)):
            if all(_windows_since(drift, state.since) >= CONFIRM_WINDOWS for drift in state.arms):
                state.since = None
            return None
        state.shifts = [control, treatment]
        if abs(treatment - control) <= SHIFT_Z * math.sqrt(control_var + treatment_var):
            return Reason.WORLD_MOVED
        return Reason.VARIANT_MOVED if abs(treatment) >= abs(control) else Reason.CONTROL_MOVED

    def tick(self, state: DriftState, moment: Moment) -> None:
        """Windows close by rows, but are compared at ticks: how rows are cut into blocks must not matter."""
        if state.finding is None:
            state.finding = self._ask_the_other(state)

    def close_epoch(self, state: DriftState, moment: Moment) -> None:
        """Each arm is held against its own past, whatever its share."""

    def judge(self, state: DriftState, moment: Moment) -> Iterator[Verdict]:
        shifts: list[float | None] = [*state.shifts] or [None, None]
        evidence = Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.metric,
            statistic="shift of the treatment's mean" if state.finding else None,
            observed=self._in_units(shifts[TREATMENT]),
            bound=self._in_units(shifts[CONTROL]),
            n_control=state.arms[CONTROL].windows * WINDOW_ROWS,
            n_treatment=state.arms[TREATMENT].windows * WINDOW_ROWS,
        )
        if state.finding is not None:
            yield Verdict("arms", Outcome.BREACH, state.finding, evidence, self._response(state.finding))
        elif state.since is not None:
            yield Verdict("arms", Outcome.UNDECIDED, Reason.OTHER_ARM_PENDING, evidence)
        else:
            yield Verdict("arms", Outcome.OK, Reason.STEADY, evidence)

    def _in_units(self, shift: float | None) -> float | None:
        return None if shift is None else round_significant(shift / self.integers_per_unit)

    def _response(self, reason: Reason) -> Response:
        if reason == Reason.VARIANT_MOVED:
            return Response(self.action, Severity.PAGE, hold=True)
        return Response(None, Severity.HOLD, hold=True)


def _stands_out(shift: float, variance: float) -> bool:
    return abs(shift) > STANDS_OUT_Z * math.sqrt(variance)


def _windows_since(drift: ArmDrift, since: Micros) -> int:
    return sum(at >= since for at in drift.times)


def _close_windows(drift: ArmDrift, at: Micros) -> None:
    while len(drift.values) >= WINDOW_ROWS:
        drift.means.append(unit_mean(drift.values[:WINDOW_ROWS], drift.units[:WINDOW_ROWS]))
        drift.times.append(at)
        drift.windows += 1
        del drift.values[:WINDOW_ROWS], drift.units[:WINDOW_ROWS]
    del drift.means[:-KEPT_WINDOWS], drift.times[:-KEPT_WINDOWS]


def unit_mean(values: list[int], units: list[int]) -> float:
    """Mean over units of each unit's mean; the same whatever the order.

    >>> unit_mean([10, 20, 90], [1, 1, 2])
    52.5
    """
    _, unit, counts = np.unique(np.array(units, np.uint64), return_inverse=True, return_counts=True)
    sums = np.bincount(unit, np.array(values, np.int64))
    return math.fsum((sums / counts).tolist()) / counts.size


def _fed(drift: ArmDrift, center: float, scale: float) -> list[Micros]:
    """Feeds the windows closed since the last time; ledger times of those at which the detector fired."""
    fresh = min(drift.windows - drift.fed, len(drift.means))
    drift.fed = drift.windows
    if not fresh:
        return []
    pairs = zip(drift.times[-fresh:], drift.means[-fresh:], strict=True)
    return [at for at, mean in pairs if drift.detector.update((mean - center) / scale)]


def _keep_the_past(state: DriftState, since: Micros) -> None:
    """Keeps what both arms were before. Where one has too short a past to compare with, the move is passed over."""
    past = [_level([mean for mean, at in zip(d.means, d.times, strict=True) if at < since]) for d in state.arms]
    if None in past:
        return
    state.since = since
    for drift, level in zip(state.arms, past, strict=True):
        drift.before = [*(level or ())]


def _mean_and_variance(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


def _level(means: list[float]) -> tuple[float, float] | None:
    """Mean of window means and the variance of that; None of too few."""
    if len(means) < LEAST_WINDOWS:
        return None
    mean, variance = _mean_and_variance(means)
    return mean, variance / len(means)


def _freeze_reference(state: DriftState) -> bool:
    control = state.arms[CONTROL]
    if len(control.means) < REFERENCE_WINDOWS:
        return False
    mean, variance = _mean_and_variance(control.means[:REFERENCE_WINDOWS])
    state.center, state.scale = mean, math.sqrt(variance) or 1.0
    return True


def _shift(drift: ArmDrift, since: Micros) -> tuple[float, float] | None:
    """Mean since a moment minus mean before it, and the variance of that; None while too few windows came since."""
    after = _level([mean for mean, at in zip(drift.means, drift.times, strict=True) if at >= since])
    if after is None:
        return None
    mean, variance = drift.before
    return after[0] - mean, after[1] + variance

"""Drift: has an arm moved against its own past, and if so, was it the variant or the world?

Each arm's values are averaged over windows of 32 traces, unit by unit, since traces of one session are alike and would
alarm ADWIN by themselves. The window means are scaled by the control's first ones, frozen, and fed to a detector
(detectors.py). When it fires for an arm, what both arms were before is kept, and each window from there on is news:
both arms' shifts, and the difference of the two, are held against 0 by a confidence sequence, which may be looked at
all the time. The difference is not 0: that arm moved. Both moved the same way: the world did (provider, traffic).
Neither: the alarm is passed over, for ADWIN bounds the error of one look, PageHinkley none, and neither the number of
false alarms over weeks.
The past of the arm that fired ends some windows before: those that made the detector fire were picked by it, and the
level after them would look like a shift back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise

import numpy as np

from stoploss import metrics
from stoploss.arrays import indices
from stoploss.commands import Action, Evidence, Micros, round_significant
from stoploss.experiment import Experiment
from stoploss.rules.detectors import Detector
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import CONTROL, TREATMENT, IntArray, Moment, Rows, UnitArray, with_value
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.segments import EVERYBODY
from stoploss.spec.health import DriftWatch
from stoploss.stats.asymptotic import log_e_two_sided, tuning_rho
from stoploss.stats.corrections import correct_few_groups

WINDOW_ROWS = 32
REFERENCE_WINDOWS = 16
KEPT_WINDOWS = 512
LEAST_WINDOWS = 16
PICKED_WINDOWS = 16
"""Windows before an alarm that are no past of the arm that fired; a third of them where there are few."""
ALPHA = 0.001
"""Of each of the three questions that an alarm asks, at all looks together."""
TSTAR_WINDOWS = 64
RHO = tuning_rho(ALPHA, TSTAR_WINDOWS, sided="two")
CONFIRM_WINDOWS = 64
"""An alarm is passed over where this many windows later neither arm's shift stands out."""


@dataclass(slots=True)
class ArmDrift:
    """One arm.

    values, units  rows of the window that is being filled
    times, means   the last windows: ledger time of their last row, and their mean in integer units
    fed            windows fed to the detector
    before         of the windows before an arm moved: mean, variance of that mean, number; empty while none has
    """

    detector: Detector
    values: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    units: UnitArray = field(default_factory=lambda: np.zeros(0, np.uint64))
    times: list[Micros] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    windows: int = 0
    fed: int = 0
    before: list[float] = field(default_factory=list)


@dataclass(slots=True)
class DriftState(Newsworthy):
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
    version: int = field(default=3, init=False)

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
        counted, x = with_value(rows.counted(EVERYBODY), x)
        for arm, drift in enumerate(state.arms):
            mine = indices(counted.arm == arm)
            drift.values = np.concatenate([drift.values, x[mine]])
            drift.units = np.concatenate([drift.units, counted.unit[mine]])
        _close_windows(state.arms, moment.at)
        self._feed(state)

    def _feed(self, state: DriftState) -> None:
        """Feeds closed windows to the detectors, once the control's first ones have set the scale."""
        if state.center is None and not _freeze_reference(state):
            return
        fired = [_fed(drift, state.center or 0.0, state.scale or 1.0) for drift in state.arms]
        if state.since is None and any(at is not None for at in fired):
            _keep_the_past(state, fired)
            state.news = True

    def _ask_the_other(self, state: DriftState) -> Reason | None:
        """Whose shift it was; None while nothing moved, or it cannot be told yet, or the alarm is passed over."""
        if state.since is None:
            return None
        control, treatment = (_shift(drift, state.since) for drift in state.arms)
        if control is None or treatment is None:
            return None
        state.shifts = [control.size, treatment.size]
        if (treatment - control).stands_out:
            return Reason.VARIANT_MOVED if abs(treatment.size) >= abs(control.size) else Reason.CONTROL_MOVED
        moved = [shift.stands_out for shift in (control, treatment)]
        if all(moved) and control.size * treatment.size > 0:
            return Reason.WORLD_MOVED
        if min(control.since, treatment.since) >= (KEPT_WINDOWS - 1 if any(moved) else CONFIRM_WINDOWS):
            state.since, state.shifts = None, []
        return None

    def tick(self, state: DriftState, moment: Moment) -> None:
        """Windows close by rows, but are compared at ticks: how rows are cut into blocks must not matter."""
        if state.finding is None:
            state.finding = self._ask_the_other(state)

    def close_epoch(self, state: DriftState, moment: Moment) -> None:
        """Each arm is held against its own past, whatever its share."""

    def judge(self, state: DriftState, moment: Moment) -> Iterator[Verdict]:
        evidence = partial(self._evidence, state)
        if state.finding is not None:
            yield Verdict("arms", Outcome.BREACH, state.finding, evidence, self._response(state.finding))
        elif state.since is not None:
            yield Verdict("arms", Outcome.UNDECIDED, Reason.OTHER_ARM_PENDING, evidence)
        else:
            yield Verdict("arms", Outcome.OK, Reason.STEADY, evidence)

    def _evidence(self, state: DriftState) -> Evidence:
        shifts: list[float | None] = [*state.shifts] or [None, None]
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.metric,
            statistic="shift of the treatment's mean" if state.finding else None,
            observed=self._in_units(shifts[TREATMENT]),
            bound=self._in_units(shifts[CONTROL]),
            n_control=state.arms[CONTROL].windows * WINDOW_ROWS,
            n_treatment=state.arms[TREATMENT].windows * WINDOW_ROWS,
        )

    def _in_units(self, shift: float | None) -> float | None:
        return None if shift is None else round_significant(shift / self.integers_per_unit)

    def _response(self, reason: Reason) -> Response:
        if reason == Reason.VARIANT_MOVED:
            return Response(self.action, Severity.PAGE, hold=True)
        return Response(None, Severity.HOLD, hold=True)


@dataclass(frozen=True, slots=True)
class Shift:
    """How far an arm's level moved, in integer units: its variance, windows since, and the fewest it rests on."""

    size: float
    variance: float
    since: int
    fewest: int

    def __sub__(self, other: Shift) -> Shift:
        since, fewest = min(self.since, other.since), min(self.fewest, other.fewest)
        return Shift(self.size - other.size, self.variance + other.variance, since, fewest)

    @property
    def stands_out(self) -> bool:
        """Whether it is no 0, at error ALPHA over all looks; the few windows make its variance a guess."""
        if self.variance == 0:
            return self.size != 0
        z = correct_few_groups(self.size / math.sqrt(self.variance), self.fewest)
        return log_e_two_sided(z, self.since * RHO * RHO) >= -math.log(ALPHA)


def _close_windows(arms: list[ArmDrift], at: Micros) -> None:
    """Of all arms in one pass."""
    full = [drift.values.size // WINDOW_ROWS for drift in arms]
    if not any(full):
        return
    taken = [windows * WINDOW_ROWS for windows in full]
    values = np.concatenate([drift.values[:rows] for drift, rows in zip(arms, taken, strict=True)])
    units = np.concatenate([drift.units[:rows] for drift, rows in zip(arms, taken, strict=True)])
    means = iter(window_means(values, units))
    for drift, windows, rows in zip(arms, full, taken, strict=True):
        drift.means += islice(means, windows)
        drift.times += [at] * windows
        drift.windows += windows
        drift.values, drift.units = drift.values[rows:], drift.units[rows:]
        del drift.means[:-KEPT_WINDOWS], drift.times[:-KEPT_WINDOWS]


def window_means(values: IntArray, units: UnitArray, rows: int = WINDOW_ROWS) -> list[float]:
    """For each window of so many rows the mean over its units of each unit's mean; the same in whatever order.

    >>> window_means(np.array([10, 20, 90]), np.array([1, 1, 2], np.uint64), rows=3)
    [52.5]
    """
    windows = np.arange(0, values.size, rows)
    order = (np.argsort(units.reshape(-1, rows), axis=1) + windows[:, np.newaxis]).reshape(-1)
    values, units = values[order], units[order]
    new = np.ones(values.size, np.bool_)
    new[1:] = units[1:] != units[:-1]
    new[windows] = True
    begins = indices(new)
    rows_of = np.concatenate([begins[1:], [values.size]]) - begins
    means = (np.add.reduceat(values, begins) / rows_of).tolist()
    # A window's first row begins a unit, so windows begin at these units.
    cuts = [*np.searchsorted(begins, windows).tolist(), len(means)]
    return [math.fsum(means[low:high]) / (high - low) for low, high in pairwise(cuts)]


def _fed(drift: ArmDrift, center: float, scale: float) -> Micros | None:
    """Feeds the windows closed since the last time; ledger time of the first at which the detector fired."""
    fresh = min(drift.windows - drift.fed, len(drift.means))
    drift.fed = drift.windows
    if not fresh:
        return None
    pairs = zip(drift.times[-fresh:], drift.means[-fresh:], strict=True)
    fired = [at for at, mean in pairs if drift.detector.update((mean - center) / scale)]
    return fired[0] if fired else None


def _keep_the_past(state: DriftState, fired: list[Micros | None]) -> None:
    """Keeps what both arms were before. Where one has too short a past to compare with, the move is passed over."""
    since = min(at for at in fired if at is not None)
    past = []
    for drift, at in zip(state.arms, fired, strict=True):
        means = [mean for mean, of in zip(drift.means, drift.times, strict=True) if of < since]
        picked = 0 if at is None else min(PICKED_WINDOWS, len(means) // 3)
        past.append(_level(means[: len(means) - picked]))
    if None in past:
        return
    state.since = since
    for drift, level in zip(state.arms, past, strict=True):
        drift.before = [*(level or ())]


def _mean_and_variance(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


def _level(means: list[float]) -> tuple[float, float, float] | None:
    """Mean of window means, the variance of that, and their number; None of too few."""
    if len(means) < LEAST_WINDOWS:
        return None
    mean, variance = _mean_and_variance(means)
    return mean, variance / len(means), float(len(means))


def _freeze_reference(state: DriftState) -> bool:
    control = state.arms[CONTROL]
    if len(control.means) < REFERENCE_WINDOWS:
        return False
    mean, variance = _mean_and_variance(control.means[:REFERENCE_WINDOWS])
    state.center, state.scale = mean, math.sqrt(variance) or 1.0
    return True


def _shift(drift: ArmDrift, since: Micros) -> Shift | None:
    """From the past to the windows after the alarm; None while too few came since."""
    after = _level([mean for mean, at in zip(drift.means, drift.times, strict=True) if at > since])
    if after is None:
        return None
    mean, variance, windows = drift.before
    return Shift(after[0] - mean, after[1] + variance, int(after[2]), int(min(after[2], windows)))

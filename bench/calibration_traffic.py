"""Hard traffic for bench/calibration.py: eight kinds, on which both variants are alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stoploss.calibration.chance import keyed, uniform, words
from stoploss.calibration.requests import Requests

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
START = 1_790_000_040_000_000
MINUTES = 24
METRICS = ("latency_ms", "error_rate")

SPEC = """
apiVersion: stoploss/v1alpha1
kind: Experiment
metadata: {name: calibration, owner: stoploss}
spec:
  hypothesis: Nothing changes, and nothing may get worse.
  unit: model
  success: {metric: latency_ms}
  assignment: {flag: calibration, randomisationUnit: user, control: a, controllers: [flagd]}
  variants: [{name: a}, {name: b}]
  guardrails:
    - {metric: latency_ms, direction: lower, margin: {relative: 0}, alpha: 0.01, action: rollback}
    - {metric: error_rate, direction: lower, margin: {relative: 0}, alpha: 0.01, action: rollback}
  ramp: {stages: [0.5]}
  rollback: {to: a}
"""
SPENT = (0.001, 0.03, 1.0)
THROTTLES = """\
  budgets:
    - {metric: cost_usd, limit: 1, period: 12h, actions: [{burn: 14.4, do: throttle, to: 0.25}]}
    - {metric: cost_usd, limit: 30, period: 12h, actions: [{burn: 14.4, do: throttle, to: 0.10}]}
    - {metric: cost_usd, limit: 900, period: 12h, actions: [{burn: 14.4, do: throttle, to: 0.05}]}
"""
STAGES = (0.5, 0.25, 0.10, 0.05)
"""The ramp goes down, by budgets that throttle: a fold of the ledger raises exposure by a new run only."""


@dataclass(frozen=True)
class Values:
    """What the requests of a run are, in order of arrival, whichever variant serves them.

    user      index of who asks
    latency   milliseconds; error: its probability
    """

    user: Ints
    latency: Floats
    error: Floats


@dataclass(frozen=True)
class Row:
    """One kind of traffic.

    stages    share of the treatment, quarter by quarter of the run
    requests  in a run, evenly over MINUTES
    """

    key: str
    name: str
    what: str
    make: Callable[[np.random.Generator, int], Values]
    requests: int = 12_000
    stages: tuple[float, ...] = (0.5,)

    @property
    def exposure(self) -> float:
        return self.stages[0]

    @property
    def spec(self) -> str:
        return SPEC + (THROTTLES if len(self.stages) > 1 else "")


@dataclass(frozen=True)
class Stream:
    """One run's requests, and the seed of who is assigned to which variant."""

    requests: Requests
    seed: int

    @property
    def seat(self) -> Floats:
        """Each unit's place in [0, 1): the treatment serves it while its exposure is above."""
        return uniform(keyed(self.requests.unit, self.seed))


def drawn(row: Row, seed: int, run: int) -> Stream:
    """The requests of a run of a row; the same for the same seed and run."""
    number = [r.key for r in ROWS].index(row.key)
    rng = np.random.default_rng([seed, number, run])
    values, chance = row.make(rng, row.requests), rng.random(row.requests)
    at = START + (np.arange(row.requests) * (MINUTES * 60_000_000 / row.requests)).astype(np.int64)
    metrics = {
        "latency_ms": np.rint(values.latency * 1_000).astype(np.int64),
        "error_rate": (chance < values.error).astype(np.int64),
    }
    if len(row.stages) > 1:
        metrics["cost_usd"] = _spent(at, row.stages)
    unit = words(int(values.user.max()) + 1, seed, number, run)[values.user]
    units = dict.fromkeys(metrics, "1")
    none = np.zeros(row.requests, np.uint32)
    requests = Requests(at, at - 500_000, unit, metrics, units, {}, none, {})
    return Stream(requests, (seed * 100 + number) * 1_000_003 + run)


def stage_of(minute: Ints, stages: tuple[float, ...]) -> Floats:
    """Share of the treatment in each minute."""
    quarter = minute * len(stages) // MINUTES
    return np.array(stages)[np.minimum(quarter, len(stages) - 1)]


def _spent(at: Ints, stages: tuple[float, ...]) -> Ints:
    """Money goes in the last minute of each quarter, each time enough for one budget more."""
    minute, length = (at - START) // 60_000_000, MINUTES // len(stages)
    cost = np.zeros(at.size)
    for quarter, dollars in enumerate(SPENT):
        cost[minute == (quarter + 1) * length - 1] = dollars
    return np.rint(cost * 1e9).astype(np.int64)


def _lognormal(rng: np.random.Generator, n: int, sigma: float, z: Floats | None = None) -> Floats:
    return 500 * np.exp(sigma * (rng.standard_normal(n) if z is None else z))


def _mixed(rng: np.random.Generator, user: Ints, users: int, icc: float) -> Floats:
    """Standard normal per request, of which the share icc of the variance is the user's."""
    return np.sqrt(1 - icc) * rng.standard_normal(user.size) + np.sqrt(icc) * rng.standard_normal(users)[user]


def _beta(rng: np.random.Generator, user: Ints, users: int, p: float, icc: float) -> Floats:
    """Each user's own probability of an error, of mean p; icc is the correlation of a user's errors."""
    both = (1 - icc) / icc
    return rng.beta(p * both, (1 - p) * both, users)[user]


def lognormal(rng: np.random.Generator, n: int) -> Values:
    return Values(rng.integers(0, n // 2, n), _lognormal(rng, n, 1.0), np.full(n, 0.02))


def rare(rng: np.random.Generator, n: int) -> Values:
    return Values(rng.integers(0, n // 2, n), _lognormal(rng, n, 0.5), np.full(n, 0.002))


def sessions(rng: np.random.Generator, n: int) -> Values:
    """Ten requests of a session one after the other, as many sessions open at a time as come in a minute."""
    late = np.argsort(np.arange(n) + rng.uniform(0, 500, n), kind="stable")
    user, count = late // 10, n // 10 + 1
    latency = _lognormal(rng, n, 1.0, _mixed(rng, user, count, 0.3))
    return Values(user, latency, _beta(rng, user, count, 0.02, 0.3))


def returning(rng: np.random.Generator, n: int) -> Values:
    users = 2_000
    user = rng.integers(0, users, n)
    quarter = np.arange(n) * 4 // n
    z = _mixed(rng, user, users, 0.3) + 0.2 * quarter
    return Values(user, _lognormal(rng, n, 0.5, z), _beta(rng, user, users, 0.03, 0.3) * (1 + 0.2 * quarter) / 1.6)


def zipf(rng: np.random.Generator, n: int) -> Values:
    """The k-th busiest user asks in proportion to 1/k, and the busier are the slower and the worse served."""
    users = 5_000
    weight = 1 / np.arange(1, users + 1)
    user = np.searchsorted(np.cumsum(weight) / weight.sum(), rng.random(n), side="right")
    user = np.minimum(user, users - 1)
    busy = np.log(weight[user])
    busy = (busy - np.log(weight).mean()) / np.log(weight).std()
    z = 0.5 * busy + np.sqrt(0.75) * _mixed(rng, user, users, 0.3)
    return Values(user, _lognormal(rng, n, 0.7, z), np.clip(0.02 * np.exp(0.5 * busy), 0, 0.5))


def drifting(rng: np.random.Generator, n: int) -> Values:
    """Latency and errors of both arms rise to twice their level and fall again, twice."""
    level = 1.5 + 0.5 * np.sin(2 * np.pi * 2 * np.arange(n) / n)
    return Values(rng.integers(0, n // 2, n), _lognormal(rng, n, 0.7) * level, 0.02 * level)


def heavy(rng: np.random.Generator, n: int) -> Values:
    """Pareto of index 2.5: a variance, but neither skewness nor kurtosis."""
    return Values(rng.integers(0, n // 2, n), 300 * (1 + rng.pareto(2.5, n)), np.full(n, 0.02))


def lopsided(rng: np.random.Generator, n: int) -> Values:
    return Values(rng.integers(0, n // 2, n), _lognormal(rng, n, 1.0), np.full(n, 0.02))


ROWS = (
    Row("lognormal", "lognormal latency", "σ of ln latency 1; 2 % errors; two requests a user", lognormal),
    Row("rare", "rare errors", "0.2 % errors; σ of ln latency 0.5", rare),
    Row(
        "sessions", "clustered sessions", "sessions of ten, intraclass correlation 0.3 in latency and errors", sessions
    ),
    Row(
        "ramp",
        "returning users through a ramp",
        "2,000 users, intraclass correlation 0.3; exposure 50, 25, 10, 5 %, everybody's level drifts by 0.2 σ each; "
        "the ramp goes down, by budgets that throttle, since a higher exposure is a new run",
        returning,
        stages=STAGES,
    ),
    Row("zipf", "heavy users (Zipf)", "5,000 users, exponent 1; the busier, the slower and the worse served", zipf),
    Row("drifting", "drifting baseline", "level of both arms between 1 and 2 times, two waves", drifting),
    Row("heavy", "heavy tails", "Pareto latency of index 2.5, untransformed", heavy),
    Row("lopsided", "99/1 split", "as the first row, 1 % treatment, 48,000 requests", lopsided, 48_000, (0.01,)),
)

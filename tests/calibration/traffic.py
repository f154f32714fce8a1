"""Requests for tests: seeded, of one kind, in time order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stoploss.calibration.chance import uniform, words
from stoploss.calibration.requests import Requests
from stoploss.intake.rows import Coded
from tests.timelines import START, spec

QUICK = spec().replace("control: current}", "control: current, serviceTimeout: 1s}")
"""A service that gives up after a second: its failures do not drown its latencies."""
SPEC = spec(
    """
guardrails:
  - {metric: latency_ms, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}
  - {metric: error_rate, direction: lower, margin: {relative: 0.25}, alpha: 0.01, action: pause}
""",
    QUICK,
)


def requests(
    n: int = 4_000,
    *,
    seed: int = 1,
    users: int = 2_000,
    gap_s: float = 1.0,
    sigma: float = 0.5,
    error_rate: float = 0.02,
    icc: float = 0.0,
    tenants: tuple[str, ...] = (),
) -> Requests:
    """Requests one after the other; users come back, and icc is how alike the latencies of one are."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users, n)
    z = np.sqrt(1 - icc) * rng.standard_normal(n) + np.sqrt(icc) * rng.standard_normal(users)[user]
    at = START + (np.arange(n) * gap_s * 1e6).astype(np.int64)
    failed = uniform(words(n, seed, 8)) < error_rate
    codes = (user % max(1, len(tenants))).astype(np.int32)
    metrics = {
        "latency_ms": np.rint(500_000 * np.exp(sigma * z)).astype(np.int64),
        "error_rate": failed.astype(np.int64),
    }
    return Requests(
        at=at,
        start=at - 400_000,
        unit=words(users, seed, 9)[user],
        metrics=metrics,
        units=dict.fromkeys(metrics, "1"),
        segments={"tenant": Coded(tenants, codes)} if tenants else {},
        gates=np.zeros(n, np.uint32),
        details={},
    )


def measured(some: Requests, column: str, values: np.ndarray) -> Requests:
    """The same requests with one more column."""
    return replace(some, metrics={**some.metrics, column: values}, units={**some.units, column: "1"})

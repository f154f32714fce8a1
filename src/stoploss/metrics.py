"""What can be measured on a trace: one table from column to metric, with unit and exact integer scale.

Every metric crosses the ledger as an integer in a declared unit, so that sums are exact in any order
(ARCHITECTURE.md, "Exact numbers"). A value is `round(column * scale)`, held within ±(2**40 - 1); a rule that
asks for the logarithm gets `round(ln(column) * LOG_SCALE)`, computed once, at intake, and exact from there on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LARGEST = 2**40 - 1
MISSING = -(2**63)
LOG_SCALE = 1_000_000
SCORE_SCALE = 1_000_000

UNDECLARED_SERVING = "undeclared_serving_rate"
"""Whether a trace was served by something else than its variant declares; such a trace is not compared."""

Transform = Literal["none", "log"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that every trace (or its outcome) may have.

    name      as specs, journal and plots call it; carries the unit
    unit      unit of the number that people see
    scale     integers per unit: latency_ms * 1000 are microseconds
    binary    true: each trace counts 0 or 1, and the number is a rate
    positive  true: the value cannot be 0 or below, or only by accident, so a relative margin and a log have meaning
    better    the direction that is good for the user
    zeros     true: most traces have 0, so a share of the mean has meaning and a logarithm has none
    """

    name: str
    unit: str
    scale: int
    better: Literal["lower", "higher"]
    binary: bool = False
    positive: bool = True
    zeros: bool = False


def _table(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS: dict[str, Metric] = _table(
    Metric("latency_ms", "ms", 1_000, "lower"),
    Metric("time_to_first_token_ms", "ms", 1_000, "lower"),
    Metric("input_tokens", "tokens", 1, "lower"),
    Metric("output_tokens", "tokens", 1, "lower"),
    Metric("cached_tokens", "tokens", 1, "higher"),
    Metric("reasoning_tokens", "tokens", 1, "lower"),
    Metric("cost_usd", "USD", 1_000_000_000, "lower"),
    Metric("steps", "steps", 1, "lower"),
    Metric("repeated_calls", "calls", 1, "lower", zeros=True),
    Metric("retries", "retries", 1, "lower", zeros=True),
    Metric("samples", "samples", 1, "lower"),
    Metric("error_rate", "errors per trace", 1, "lower", binary=True),
    Metric("refusal_rate", "refusals per trace", 1, "lower", binary=True),
    Metric("pii_suspected_rate", "suspicions per trace", 1, "lower", binary=True),
    Metric("denied_tool_rate", "denials per trace", 1, "lower", binary=True),
    Metric("guardrail_hit_rate", "hits per trace", 1, "lower", binary=True),
    Metric(UNDECLARED_SERVING, "undeclared servings per trace", 1, "lower", binary=True),
)

# Harm events that an objective may weigh, and the column that tells of each: a metric of the trace, or else an outcome.
RISK_EVENTS: dict[str, str] = {
    "refusal": "refusal_rate",
    "denied_tool": "denied_tool_rate",
    "guardrail_hit": "guardrail_hit_rate",
    "escalation": "escalation",
    "complaint": "complaint",
}


def score(name: str) -> Metric:
    """A judged score or business result that a spec declares; its unit is its own."""
    return Metric(name, "points", SCORE_SCALE, "higher", positive=False)


def column_name(metric: str, transform: Transform) -> str:
    """Name of a metric's column in an evidence block.

    >>> column_name("latency_ms", "log")
    'latency_ms:log'
    """
    return metric if transform == "none" else f"{metric}:{transform}"


def scale_of(metric: Metric, transform: Transform) -> int:
    """Integers per unit of a column: of the metric itself, or of its natural logarithm."""
    return LOG_SCALE if transform == "log" else metric.scale

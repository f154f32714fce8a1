"""What a person chooses at the top of a page of one experiment."""

from __future__ import annotations

from grafana.panel import HERE, Variable

CHOSEN_VALUES = "$__conditionalAll(segment_value IN (${value:sqlstring}), $value)"
"""A condition: the plugin leaves it out while all values are chosen."""

EXPERIMENT = Variable("Experiment", "SELECT DISTINCT experiment FROM registry_v ORDER BY experiment")
DIMENSION = Variable(
    "Segment dimension",
    f"SELECT DISTINCT segment_dimension FROM measures_arms_copies_v WHERE {HERE} AND isNotNull(segment_dimension) "
    "ORDER BY segment_dimension",
)
# A value that is too small to show is offered to nobody; among all values it stands without its numbers.
VALUE = Variable(
    "Segment value",
    f"SELECT DISTINCT segment_value FROM measures_arms_copies_v WHERE {HERE} "
    "AND segment_dimension = ${dimension:sqlstring} AND isNotNull(segment_value) AND NOT hidden ORDER BY segment_value",
    every=True,
)
METRIC = Variable("Metric", f"SELECT DISTINCT metric FROM measures_arms_copies_v WHERE {HERE} ORDER BY metric")
GUARDRAIL = Variable(
    "Guardrail",
    f"SELECT DISTINCT metric FROM measures_verdicts_copies_v WHERE {HERE} AND startsWith(rule, 'guardrail') "
    "AND isNotNull(metric) ORDER BY metric",
    every=True,
)

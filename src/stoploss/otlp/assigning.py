"""Which variant of which experiment handled a trace, from what its spans and log events say.

In this order, for each experiment: attributes of a span, events of a span, log events with its trace id, configured
attributes. The first place that names an experiment counts. Where one place names two variants of it both are kept,
and intake refuses the record as `assigned_twice`: nobody can tell which of them was served.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import orjson

from stoploss.otlp.aliases import FLAG_EVALUATIONS
from stoploss.otlp.records import Assignment
from stoploss.otlp.spans import Span
from stoploss.otlp.values import Values, count, text, truth

CONFIGURED = "configured:"
"""Before the name of an experiment: the field of the attribute that is configured to name its variant."""

_RUN_AND_EPOCH = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)
_LARGEST_STAMP = (1 << 31) - 1


class Place(IntEnum):
    """Where an assignment was named; the lowest counts."""

    SPAN = 0
    EVENT = 1
    LOG = 2
    CONFIGURED = 3


Named = tuple[Place, Assignment]


@dataclass(frozen=True, slots=True)
class Flags:
    """What turns names on the wire into experiments.

    flags       flag key -> experiments that it serves. Other flags of the service are no assignments
    configured  attribute -> experiment; its value is the variant
    """

    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    configured: Mapping[str, str] = field(default_factory=dict)

    @property
    def attributes(self) -> dict[str, str]:
        """What Attributes has to read beyond the alias table."""
        return {attribute: f"{CONFIGURED}{experiment}" for attribute, experiment in self.configured.items()}

    def named(self, values: Values) -> list[Assignment]:
        """Assignments that one set of attributes names."""
        if "flag" not in values and "experiment" not in values:
            return []
        variant = text(values, "variant") or text(values, "flag_variant") or _text_value(values)
        if variant is None:
            return []
        experiment = text(values, "experiment")
        experiments = [experiment] if experiment else self.flags.get(text(values, "flag") or "", ())
        if not experiments:
            return []
        run, epoch = _stamps(values)
        consent = truth(values, "consent")
        return [Assignment(name, variant, consent, run, epoch) for name in experiments]

    def named_by(self, span: Span) -> list[Named]:
        """Assignments that a span names, wherever."""
        found = [(Place.SPAN, each) for each in self.named(span.values)]
        for event in span.events:
            if event.name in FLAG_EVALUATIONS:
                found += [(Place.EVENT, each) for each in self.named(event.values)]
        for experiment in self.configured.values():
            for values in (span.values, span.resource):
                if variant := text(values, f"{CONFIGURED}{experiment}"):
                    found.append((Place.CONFIGURED, Assignment(experiment, variant)))
        return found


def resolved(named: Iterable[Named]) -> list[Assignment]:
    """The assignments of a trace: of each experiment those of its first place, each variant once."""
    first: dict[str, Place] = {}
    found: dict[tuple[str, str], Assignment] = {}
    for place, assignment in sorted(named, key=lambda each: each[0]):
        if first.setdefault(assignment.experiment, place) == place:
            found.setdefault((assignment.experiment, assignment.variant), assignment)
    return list(found.values())


def _text_value(values: Values) -> str | None:
    """Providers that know no variants record the flag's value; those of stoploss's flags are names of variants.

    OpenFeature's Python hook writes it as JSON.
    """
    value = text(values, "flag_value")
    if value is None or not value.startswith('"'):
        return value
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return parsed if isinstance(parsed, str) and parsed else None


def _stamps(values: Values) -> tuple[int | None, int | None]:
    """Run and epoch: of their own, or from the flag's version, which a stoploss flag gives as RUN.EPOCH."""
    run, epoch = count(values, "run"), count(values, "epoch")
    if run is None and epoch is None and (found := _RUN_AND_EPOCH.fullmatch(text(values, "flag_version") or "")):
        run, epoch = int(found[1]), int(found[2])
    return _stamp(run), _stamp(epoch)


def _stamp(value: int | None) -> int | None:
    return value if value is not None and value <= _LARGEST_STAMP else None

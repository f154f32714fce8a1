"""A desired state as a flagd targeting rule (JsonLogic): consent, then stopped segments, then the split of the rest.

Source: flagd's custom operation `fractional`, and JsonLogic's `if`, `===`, `in`, `and`, `or`, `cat`, `var`.
"""

from __future__ import annotations

from typing import Any

from stoploss.commands import Command, Segment
from stoploss.emit.assignment import CONSENT
from stoploss.experiment import CROSS, OTHER

Json = dict[str, Any]

AGREED: Json = {"===": [{"var": CONSENT}, True]}
"""Nothing but true is consent: neither a context that says nothing nor the text "true"."""
WEIGHTS = 10_000
"""flagd splits by whole weights: exposure moves in steps of 0.01 %."""


def targeting(command: Command) -> Json | None:
    """The rule that decides the variant, or None where everybody gets the release variant.

    A stopped segment that a flag cannot tell apart closes the experiment for everybody: too safe, never too open.
    """
    rest = outside_of_stopped_segments(command)
    if command.asks_for_consent and rest != command.control_variant:
        return {"if": [AGREED, rest, command.control_variant]}
    return rest if isinstance(rest, dict) else None


def outside_of_stopped_segments(command: Command) -> Json | str:
    """The split for whoever is in no stopped segment; the others get the control variant."""
    rest = split(command)
    if not command.stopped_segments or rest == command.control_variant:
        return rest
    stopped = [condition(segment) for segment in command.stopped_segments]
    known = [found for found in stopped if found is not None]
    closed: bool | Json = True if len(known) < len(stopped) else any_of(known)
    return {"if": [closed, command.control_variant, rest]}


def split(command: Command) -> Json | str:
    """Exposure by targeting key, or the release variant's name where there is none.

    The treatment comes first and the sum of weights is always the same: whoever has it keeps it while exposure
    rises, for the bucket is the hash of flag and key, and the treatment's buckets only grow at their upper end.
    """
    weight = round(command.exposure * WEIGHTS)
    if weight == 0:
        return command.release_variant
    return {"fractional": [[command.treatment_variant, weight], [command.control_variant, WEIGHTS - weight]]}


def any_of(conditions: list[Json]) -> Json:
    return conditions[0] if len(conditions) == 1 else {"or": conditions}


def condition(segment: Segment) -> Json | None:
    """True for contexts in the segment; of a cross, every attribute must match. None: a flag cannot tell it apart.

    That is so for the rest of all values (`other`), for a cross with another number of values than attributes, and
    for an attribute with a dot in its name, which JsonLogic takes for a path.
    """
    names, values = segment.dimension.split(CROSS), segment.value.split(CROSS)
    if len(names) == 1:
        values = [segment.value]
    if len(names) != len(values) or OTHER in values or any("." in name for name in names):
        return None
    parts = [_is(name, value) for name, value in zip(names, values, strict=True)]
    return parts[0] if len(parts) == 1 else {"and": parts}


def _is(name: str, value: str) -> Json:
    """`cat` makes text of the attribute: a context may hold the number 42 where traces say "42"."""
    return {"in": [{"cat": [{"var": name}]}, [value]]}

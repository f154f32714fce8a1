"""Which variant handled a request: by hand, or from an OpenFeature evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from stoploss.emit.errors import Unsendable


@dataclass(frozen=True, slots=True)
class Assignment:
    """A unit's variant in one experiment.

    run, epoch  from the flag's metadata; None: not stamped, and the rows around a command are not compared
    consent     True: agreed to take part; False: opted out; None: not asked
    """

    experiment: str
    variant: str
    run: int | None = None
    epoch: int | None = None
    consent: bool | None = None


class EvaluationDetails(Protocol):
    """What stoploss reads of OpenFeature's FlagEvaluationDetails."""

    @property
    def flag_key(self) -> str: ...
    @property
    def variant(self) -> str | None: ...
    @property
    def flag_metadata(self) -> Mapping[str, bool | int | float | str]: ...


def from_details(details: EvaluationDetails, experiment: str | None = None, consent: bool | None = None) -> Assignment:
    """The assignment that a flag evaluation stands for.

    The experiment is the argument, or the metadata's `experiment`, or the flag's key. Raises Unsendable where the
    evaluation names no variant, as when it fell back to the caller's default.
    """
    if not isinstance(details.variant, str):
        raise Unsendable("assignments: the evaluation names no variant")
    metadata = details.flag_metadata
    name = experiment or metadata.get("experiment") or details.flag_key
    return Assignment(str(name), details.variant, _number(metadata, "run"), _number(metadata, "epoch"), consent)


def _number(metadata: Mapping[str, bool | int | float | str], key: str) -> int | None:
    """Flag metadata is JSON, where 3 may come back as 3.0."""
    value = metadata.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return None
    return int(value)

"""Which variant handled a request: by hand, or from an OpenFeature evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from stoploss.emit.errors import Unsendable

CONSENT = "stoploss_consent"
"""The key of an evaluation's context that says whether the user agreed to take part: true or false. It has no dot,
which flag systems take for a path."""
NEEDS_CONSENT = "needs_consent"
"""The key of a flag's metadata: true where who did not agree gets the control variant."""
NO_RUN = 0
"""Stamped on what is served outside of any comparison: without a lease, or without the consent that is needed. It is
no run's number, so such rows are compared with nothing."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A unit's variant in one experiment.

    run, epoch  from the flag's metadata; None: not stamped, and the rows around a command are not compared
    consent     True: agreed to take part; False: opted out; None: not asked
    needs_consent  the treatment is only for who agreed
    """

    experiment: str
    variant: str
    run: int | None = None
    epoch: int | None = None
    consent: bool | None = None
    needs_consent: bool = False

    @property
    def lacks_consent(self) -> bool:
        """Whether the user should get the control variant, not having agreed to anything else."""
        return self.needs_consent and self.consent is not True


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

    The experiment is the argument, or the metadata's `experiment`, or the flag's key; consent is the argument, or what
    the metadata say that the flag was evaluated with. Who lacks consent was never assigned by chance, so no run is
    stamped. Raises Unsendable where the evaluation names no variant, as when it fell back to the caller's default.
    """
    if not isinstance(details.variant, str):
        raise Unsendable("assignments: the evaluation names no variant")
    metadata = details.flag_metadata
    name = experiment or metadata.get("experiment") or details.flag_key
    run, epoch = _number(metadata, "run"), _number(metadata, "epoch")
    agreed = truth(metadata, CONSENT) if consent is None else consent
    found = Assignment(str(name), details.variant, run, epoch, agreed, truth(metadata, NEEDS_CONSENT) is True)
    return replace(found, run=NO_RUN, epoch=NO_RUN) if found.lacks_consent else found


def truth(values: Mapping[str, object], key: str) -> bool | None:
    """True or false as JSON has them; anything else, the text "true" included, says nothing."""
    value = values.get(key)
    return value if isinstance(value, bool) else None


def _number(metadata: Mapping[str, bool | int | float | str], key: str) -> int | None:
    """Flag metadata is JSON, where 3 may come back as 3.0."""
    value = metadata.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return None
    return int(value)

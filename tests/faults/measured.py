"""What became of a fault, and how an experiment has to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Measured:
    """What became of a fault.

    times      it was injected; recoveries_s: seconds from its end, or from the kill, until all of it worked again
    lost, doubled, wrong  as the verifier says
    notes      figures worth telling
    """

    times: int = 0
    recoveries_s: list[float] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def demand(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


@dataclass(slots=True)
class Ending:
    """How an experiment has to end."""

    lifecycle: str = "running"
    exposure: float = 0.5
    actions: tuple[str, ...] = ("set_exposure",)


STOPPED = Ending("stopped", 0.0, ("set_exposure", "stop"))
ROLLED_BACK = Ending("rolled_back", 0.0, ("set_exposure", "rollback"))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed; 0 of none.

    >>> percentile([3.0, 1.0, 2.0], 0.95), percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    (3.0, 2.0)
    """
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)] if ordered else 0.0

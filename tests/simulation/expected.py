"""What an experiment must come to, by the facts alone: a model of a few lines that shares no code with the judge."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

STAGES = (0.1, 0.3, 0.5)
"""Of a ramp that goes on by itself; the last one is that of a ramp that does not."""
ALLOWED = {
    "start": {"registered"},
    "pause": {"running", "adopted"},
    "resume": {"paused", "stopped", "rolled_back"},
    "stop": {"running", "paused", "adopted"},
    "rollback": {"running", "paused", "adopted"},
    "complete": {"running", "paused", "stopped", "rolled_back"},
    "reviewed": {"completed"},
}
AFTER = {
    "start": "running",
    "resume": "running",
    "pause": "paused",
    "stop": "stopped",
    "rollback": "rolled_back",
    "complete": "completed",
    "reviewed": "reviewed",
}
SERVED = ("running", "adopted")


@dataclass(slots=True)
class Expected:
    """climbs: the exposure of a run may stand at any stage."""

    climbs: bool = False
    lifecycle: str | None = None
    run: int = 0

    @property
    def state(self) -> tuple[str | None, int]:
        return self.lifecycle, self.run

    @property
    def exposures(self) -> tuple[float, ...]:
        if self.lifecycle not in SERVED:
            return (0.0,)
        return STAGES if self.climbs else STAGES[-1:]

    def asked(self, action: str, accepted: bool) -> None:
        """A request in the ledger, the first time that it stands there."""
        if action == "register" and self.lifecycle is None:
            self.lifecycle = "registered"
        elif accepted and self.lifecycle in ALLOWED.get(action, ()):
            served = self.lifecycle in SERVED
            self.lifecycle = "adopted" if action == "complete" and served else AFTER[action]
            self.run += action in ("start", "resume")

    def may_climb(self, before: float, after: float) -> bool:
        """The ramp goes on to the next stage, and skips none."""
        return self.climbs and (before, after) in pairwise(STAGES)

    def harmed(self) -> None:
        """A trace of the treatment did harm: that stops whatever is not stopped."""
        if self.lifecycle in (*SERVED, "paused"):
            self.lifecycle = "stopped"

"""What an experiment must come to, by the facts alone: a model of a few lines that shares no code with the judge."""

from __future__ import annotations

from dataclasses import dataclass

EXPOSURE = 0.5
ALLOWED = {
    "start": {"registered"},
    "pause": {"running"},
    "resume": {"paused", "stopped", "rolled_back"},
    "stop": {"running", "paused"},
    "rollback": {"running", "paused"},
}
AFTER = {"start": "running", "resume": "running", "pause": "paused", "stop": "stopped", "rollback": "rolled_back"}


@dataclass(slots=True)
class Expected:
    lifecycle: str | None = None
    run: int = 0

    @property
    def state(self) -> tuple[str | None, int, float]:
        return self.lifecycle, self.run, EXPOSURE if self.lifecycle == "running" else 0.0

    def asked(self, action: str, accepted: bool) -> None:
        """A request in the ledger, the first time that it stands there."""
        if action == "register" and self.lifecycle is None:
            self.lifecycle = "registered"
        elif accepted and self.lifecycle in ALLOWED.get(action, ()):
            self.lifecycle = AFTER[action]
            self.run += action in ("start", "resume")

    def harmed(self) -> None:
        """A trace of the treatment did harm: that stops whatever is not stopped."""
        if self.lifecycle in ("running", "paused"):
            self.lifecycle = "stopped"

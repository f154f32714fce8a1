"""What a running console is made of."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from stoploss.console.asking import Desk
from stoploss.console.deciding import Viewer
from stoploss.console.live import Listeners, Stamps
from stoploss.console.reads import Reads, tried
from stoploss.console.sessions import Sessions
from stoploss.governance.identity import RolesFile
from stoploss.settings import Settings


@dataclass(frozen=True, slots=True)
class Console:
    settings: Settings
    sessions: Sessions
    reads: Reads
    desk: Desk
    stamps: Stamps
    listeners: Listeners
    roles: RolesFile | None

    @classmethod
    def of(cls, settings: Settings) -> Console:
        """Raises InvalidExperiment and ConfigurationError where there are roles and they cannot be read."""
        roles = RolesFile(settings.roles_file) if settings.roles_file is not None else None
        reads = Reads(settings)
        stamps = Stamps(reads)
        return cls(settings, Sessions.of_home(settings.home), reads, Desk(settings), stamps, Listeners(stamps), roles)

    def viewer(self, person: str) -> Viewer:
        """Without the policy where it cannot be read; then it says so."""
        policy = tried(self.reads.policy)
        return Viewer(person, self.roles.identity() if self.roles else None, policy.value, policy.trouble)

    def close(self) -> None:
        self.listeners.closing.set()
        self.reads.close()


def console_of(request: Request) -> Console:
    found: Console = request.app.state.console
    return found

"""What a running console is made of."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from stoploss.console.asking import Desk
from stoploss.console.live import Listeners, Stamps
from stoploss.console.reads import Reads
from stoploss.console.sessions import Sessions
from stoploss.settings import Settings


@dataclass(frozen=True, slots=True)
class Console:
    settings: Settings
    sessions: Sessions
    reads: Reads
    desk: Desk
    stamps: Stamps
    listeners: Listeners

    @classmethod
    def of(cls, settings: Settings) -> Console:
        reads = Reads(settings)
        stamps = Stamps(reads)
        return cls(settings, Sessions.of_home(settings.home), reads, Desk(settings), stamps, Listeners(stamps))

    def close(self) -> None:
        self.listeners.closing.set()
        self.reads.close()


def console_of(request: Request) -> Console:
    found: Console = request.app.state.console
    return found

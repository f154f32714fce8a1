"""Threads that take turns: code that blocks in a poll for ever, run exactly as it is, one step at a time.

Only one of them runs at any time: whoever gives a turn waits until it is given back. So a run stays a function of its
seed, although registry views and controllers live in threads of their own. Here each is a greenlet, for two threads of
the system need fifty times as long to hand a turn over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet

from tests.simulation.now import running
from tests.simulation.processes import Killed, Process

if TYPE_CHECKING:
    from tests.simulation.clients import SimReader

RESTLESS_US, POLL_US = 1_000_000, 200_000
NEVER_RUN = "alerting"
"""Its work is to post to receivers, of which there are none here."""


class Baton:
    """One thread of a process. Its turn ends where a poll finds nothing.

    restless  it does something now and then although nothing is to be read
    """

    def __init__(self, process: Process, target: Callable[[], None], *, restless: bool = False) -> None:
        self.restless = restless
        self.process, self.world = process, process.world
        self.readers: list[SimReader] = []
        self.done = False
        self.error: Exception | None = None
        self.last_us = -RESTLESS_US
        self._target = target
        self._greenlet: greenlet | None = None
        process.batons.append(self)

    @property
    def due(self) -> bool:
        """There is something to be read, or it has not had a turn for a while."""
        if self.done:
            return False
        restless = self.restless and self.world.now_us - self.last_us >= RESTLESS_US
        return restless or any(reader.has_more for reader in self.readers)

    @property
    def overdue(self) -> bool:
        """No thread that has something to read is kept from it for longer than a poll takes."""
        return not self.done and self.world.now_us - self.last_us >= POLL_US and self.due

    def turn(self) -> None:
        """Lets it run until it waits for something. Raises what its code raised; Killed where its process died."""
        if self.done:
            return
        self.last_us = self.world.now_us
        self.world.stack.append((self.process, self))
        self._switch()
        self.world.stack.pop()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if self.process.dead:
            raise Killed

    def pause(self) -> None:
        """In the thread: gives the turn back, and waits for the next."""
        assert self._greenlet is not None
        assert self._greenlet.parent is not None
        self._greenlet.parent.switch()
        if self.process.dead:
            raise Killed

    def end(self) -> None:
        """The process is dead: the thread unwinds and is gone."""
        if self._greenlet is not None and not self.done:
            self._switch()

    def _switch(self) -> None:
        """It runs, and comes back to whoever is running now."""
        if self._greenlet is None:
            self._greenlet = greenlet(self._run)
        self._greenlet.parent = getcurrent()
        self._greenlet.switch()

    def _run(self) -> None:
        try:
            if not self.process.dead:
                self._target()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001  # handed to whoever gave the turn
            self.error = error
        finally:
            self.done = True


class SimThread:
    """threading.Thread in streams/: started, it waits for its first turn."""

    def __init__(self, target: Callable[[], None], name: str = "", daemon: bool = False) -> None:
        self._baton = Baton(running()[1], target) if name != NEVER_RUN else None

    def start(self) -> None:
        if self._baton is not None:
            self._baton.process.pollers.append(self._baton)

    def join(self, timeout: float | None = None) -> None:
        """It ends with its process."""


class SimEvent:
    """threading.Event in streams/: who waits for it lets the threads of its process run meanwhile."""

    def __init__(self) -> None:
        self._set = False
        self._process = running()[1]

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        for baton in self._process.batons:
            if not self._set:
                baton.turn()
        return self._set


class Threading:
    """The names of `threading` that streams/ uses."""

    Thread = SimThread
    Event = SimEvent

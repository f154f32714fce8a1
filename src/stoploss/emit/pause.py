"""Standing still for a fork: the sending thread lets its connection go, says so, and waits until the fork is over.

fork() copies every lock as it stands, and only the forking thread. One that a thread of the Kafka client held, such as
the C library's inside getaddrinfo(), stays locked in the child for good: there no name would ever be resolved again,
neither for a tracer nor for the service. So none of the client's threads may live while the process forks.
"""

from __future__ import annotations

import threading


class Pause:
    """Between threads that fork and the one that sends."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._forks = 0
        self._still = False
        self._ended = False

    def begin(self, timeout_s: float) -> bool:
        """Ask for stillness, and wait for it; False if it did not come in time. `end` belongs to it either way."""
        with self._changed:
            self._forks += 1
            return self._changed.wait_for(lambda: self._still or self._ended, timeout_s)

    def end(self) -> None:
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def asked(self) -> bool:
        with self._changed:
            return self._forks > 0

    def stand(self) -> None:
        """For the sending thread, without a connection: return once no fork is under way."""
        with self._changed:
            self._still = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._forks == 0)
            self._still = False

    def over(self) -> None:
        """For the sending thread at its end: nobody has to wait for it any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

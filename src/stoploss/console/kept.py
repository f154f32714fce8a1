"""What a page may show for some seconds before it is read anew, however many pages ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from stoploss.errors import ConfigurationError

T = TypeVar("T")


class Kept(Generic[T]):
    """One reads, and who asks meanwhile waits for it. A ConfigurationError is kept, too: who is away is left alone."""

    def __init__(self, read: Callable[[], T], kept_s: float) -> None:
        self._read, self._kept_s = read, kept_s
        self._reading = threading.Lock()
        self._found: tuple[T] | None = None
        self._trouble = ""
        self._until_s = 0.0

    def now(self) -> T:
        """Raises ConfigurationError where it cannot be read."""
        with self._reading:
            if time.monotonic() >= self._until_s:
                self._look()
            if self._found is None:
                raise ConfigurationError(self._trouble)
            return self._found[0]

    def forget(self) -> None:
        """The next who asks reads anew."""
        with self._reading:
            self._until_s = 0.0

    def _look(self) -> None:
        self._found = None
        try:
            self._found = (self._read(),)
        except ConfigurationError as error:
            self._trouble = str(error)
        self._until_s = time.monotonic() + self._kept_s

"""What one run remembers of its pace: where its exposure returns to when windows open."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """
    back_to  share that exposure returns to when the windows open; None: no window has lowered it
    waits    what is in the way of that although they are open, as it was said; empty: nothing
    """

    back_to: float | None = None
    waits: str = ""

    def lowered(self, share: float) -> None:
        """Somebody or something wants no more than this share: no window that opens gives more."""
        if self.back_to is not None:
            self.back_to = min(self.back_to, share)

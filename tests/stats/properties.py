"""How the properties are searched here: the same examples every time, however slow the machine."""

from __future__ import annotations

from hypothesis import settings

STEADY = settings(derandomize=True, deadline=None, database=None)

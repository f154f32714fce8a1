"""Rests from looking for garbage while there is none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_OBJECTS = 10_000


@contextmanager
def nothing_collected() -> Iterator[None]:
    """While a hundred thousand objects are made of which none is garbage: to look through them again and again takes
    longer than to make them. It holds for every thread of the process."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def keep_what_is_there() -> None:
    """All that was made by now stays to the end of the process, and is not looked through again: to do so would stop
    every thread for 50 ms and more. What comes is looked through once in so many objects: a fetch is thousands of
    records, none of which is garbage."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])

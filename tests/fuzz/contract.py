"""Damaged bytes of every other record of the contract: whoever reads them gets a WireError or a whole record."""

from __future__ import annotations

from functools import cache
from random import Random

from stoploss.errors import WireError
from stoploss.wire import records
from tests.fuzz.mutations import damaged, other_framing
from tests.test_every_schema import CLASSES, emptied, samples

HEADER = 10


@cache
def _whole() -> list[tuple[str, bytes]]:
    """Every record of every class, filled and empty, as it stands on its topic."""
    return [
        (name, records.encode(name, content))
        for name in sorted(CLASSES)
        for full in samples(name)
        for content in (full, emptied(full))
    ]


def check(seed: int) -> int:
    """Raises what a reader should not: anything but a WireError."""
    rng = Random(seed)
    for _ in range(100):
        name, value = rng.choice(_whole())
        changed = damaged(rng, value, rng.choice((0, HEADER, HEADER, HEADER)))
        changed = other_framing(rng, value) if rng.random() < 0.05 else changed
        told = "a whole record"
        try:
            read = records.decode(changed, {name: CLASSES[name]})
        except WireError as error:
            told = str(error)
        else:
            assert isinstance(read, CLASSES[name]), changed
        assert told, changed
    return 100

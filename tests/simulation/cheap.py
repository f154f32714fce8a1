"""What a run would pay for and not learn from: room for a million users, and the same signature made again.

Sizes of bounded memories are cut to what a run of thirty requests needs; what they bound has tests of its own.
Functions without effects are remembered over all runs: what they return does not change.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from stoploss import recent, units
from stoploss.intake.canaries import canaries
from stoploss.intake.pii import Scan, scan
from stoploss.spec.file import parse_experiment
from streams.partition_judge import this_version

SMALL: tuple[tuple[Any, str, Any], ...] = (
    (recent, "RECENT_TRACES", 512),
    (units, "SEEN_BITS", 12),
    (units, "LATELY", 64),
)
"""Modules, names of sizes in them, and the sizes in a simulation."""

REMEMBERED: tuple[tuple[Any, Any], ...] = (
    (parse_experiment, lru_cache(maxsize=256)(parse_experiment)),
    (this_version, cache(this_version)),
    (canaries, cache(canaries)),
)

SCANNED: dict[str | None, tuple[int, str | None]] = {}
"""Of each text the bits of what it holds, and the text without it. A dozen; `simulated` begins without any."""


def scan_once(texts: pl.Series) -> Scan:
    """As intake.pii.scan, which looks at every text once in all runs together."""
    listed = texts.to_list()
    if new := [text for text in dict.fromkeys(listed) if text not in SCANNED]:
        scanned = scan(pl.Series(new, dtype=pl.String))
        SCANNED.update(zip(new, zip(scanned.found.tolist(), scanned.masked, strict=True), strict=True))
    found, masked = zip(*(SCANNED[text] for text in listed), strict=True) if listed else ((), ())
    there = np.array([text is not None for text in listed], np.bool_)
    return Scan(np.array(found, np.uint8), there, pl.Series(texts.name, masked, pl.String))


class Key:
    """An Ed25519 key pair that signs, and verifies, the same bytes once. A wrong signature is told each time."""

    def __init__(self, seed: bytes) -> None:
        key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = key.public_key()
        self.sign = lru_cache(maxsize=4_096)(key.sign)
        self.verify = lru_cache(maxsize=4_096)(self._public.verify)

    def public_key(self) -> Key:
        return self

    def public_bytes(self, *form: Any) -> bytes:
        return self._public.public_bytes(*form)

    @property
    def public(self) -> Ed25519PublicKey:
        return self  # type: ignore[return-value]  # all of it that Verifier asks for

    @property
    def private(self) -> Ed25519PrivateKey:
        return self  # type: ignore[return-value]  # all of it that Signer asks for

"""Ids to 8-byte keyed hashes: what leaves intake in the place of a unit's or a trace's id.

A keyed blake2b (RFC 7693) is taken of each distinct id once; the experiment is then mixed in by vectorised splitmix64
(Steele, Lea, Flood 2014), a bijection, so that a unit cannot be followed from one experiment into another without the
key, and collisions stay those of the keyed hash.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]

_PERSON = {"unit": b"stoploss-unit", "trace": b"stoploss-trace", "experiment": b"stoploss-exp"}
_KEY_LIMIT = 64


def hash_ids(ids: pl.Series, kind: str, salt: bytes) -> Hashes:
    """Keyed 8-byte hash of each id of a string column without nulls; `kind` keeps units and traces apart."""
    blank = hashlib.blake2b(digest_size=8, key=salt[:_KEY_LIMIT], person=_PERSON[kind])
    listed = ids.to_list()
    digest_of = dict.fromkeys(listed, b"")
    for text in digest_of:
        keyed = blank.copy()
        keyed.update(text.encode())
        digest_of[text] = keyed.digest()
    return np.frombuffer(b"".join([digest_of[text] for text in listed]), "<u8").astype(np.uint64)


def salted(units: Hashes, experiment: str, salt: bytes) -> Hashes:
    """Unit hashes as one experiment sees them."""
    return splitmix64(units ^ hash_ids(pl.Series([experiment]), "experiment", salt))


def splitmix64(values: Hashes) -> Hashes:
    """The output function of SplitMix64, elementwise; a bijection of 64-bit words.

    >>> [hex(x) for x in splitmix64(np.array([0, 1], np.uint64)).tolist()]
    ['0xe220a8397b1dcdaf', '0x910a2dec89025cc1']
    """
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

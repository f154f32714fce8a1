from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from stoploss.intake.hashing import hash_ids, salted, splitmix64

SALT = b"key"


def test_an_id_is_hashed_with_a_key_as_the_standard_library_does() -> None:
    wanted = hashlib.blake2b(b"u\xc3\xbc", digest_size=8, key=SALT, person=b"stoploss-unit").digest()
    assert hash_ids(pl.Series(["uü"]), "unit", SALT).tolist() == [int.from_bytes(wanted, "little")]


def test_equal_ids_hash_equally_and_keep_their_rows() -> None:
    first, second, third = hash_ids(pl.Series(["a", "b", "a"]), "unit", SALT).tolist()
    assert first == third != second


def test_key_and_kind_and_experiment_each_change_the_hash() -> None:
    ids = pl.Series(["a"])
    units = hash_ids(ids, "unit", SALT)
    others = [hash_ids(ids, "unit", b"other"), hash_ids(ids, "trace", SALT), salted(units, "one", SALT)]
    others += [salted(units, "two", SALT), salted(units, "one", b"other")]
    assert len({int(each[0]) for each in [units, *others]}) == 6


def test_salting_merges_no_units() -> None:
    units = np.arange(10_000, dtype=np.uint64)
    assert np.unique(salted(units, "one", SALT)).size == units.size


def test_splitmix64_agrees_with_its_published_sequence() -> None:
    """First outputs for seed 1234567: the generator adds the golden gamma before each output (Vigna, splitmix64.c)."""
    gamma = 0x9E3779B97F4A7C15
    states = np.array([(1_234_567 + step * gamma) % 2**64 for step in range(3)], np.uint64)
    assert splitmix64(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]

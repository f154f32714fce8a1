from __future__ import annotations

from stoploss.intake.dead_letters import LARGEST_KEPT_BYTES, Reject, dead_letter, decode, encode
from tests.intake.records import SOURCE


def test_a_dead_letter_says_where_it_stood_and_why() -> None:
    reject = Reject(7, "malformed_avro", "cut short", b"\x00\xff", 1_790_000_000_123)
    letter = decode(encode(dead_letter(reject, SOURCE, key=b"k")))
    assert (letter.source, letter.offset, letter.stage, letter.code) == (SOURCE, 7, "intake", "malformed_avro")
    assert (letter.reason, letter.key, letter.value, letter.size) == ("cut short", b"k", b"\x00\xff", 2)
    assert letter.at == 1_790_000_000_123_000


def test_a_large_value_is_cut_and_its_size_kept() -> None:
    value = b"x" * (LARGEST_KEPT_BYTES + 1)
    letter = dead_letter(Reject(0, "too_large", "too large", value, 0), SOURCE)
    assert len(letter.value) == LARGEST_KEPT_BYTES
    assert letter.size == LARGEST_KEPT_BYTES + 1

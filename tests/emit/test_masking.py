from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoploss.emit.masking import MASKERS, mask_text
from stoploss.intake.pii_classes import CLASSES


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to ann.lee+x@mail.example.org.", "write to [masked:email]."),
        ("card 4111 1111 1111 1111, thanks", "card [masked:card], thanks"),
        ("card 4111-1111-1111-1111", "card [masked:card]"),
        ("card 378282246310005", "card [masked:card]"),
        ("card 4111 1111 1111 1111 123 is mine", "card [masked:card] 123 is mine"),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [masked:iban] please"),
        ("IBAN GB82 WEST 1234 5698 7654 32 BANK", "IBAN [masked:iban] BANK"),
        ("IBAN NO9386011117947", "IBAN [masked:iban]"),
        ("IBAN de89 3704 0044 0532 0130 00 please", "IBAN [masked:iban] please"),
        ("IBAN DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "IBAN [masked:iban]"),
        ("ssn 536-22-1234", "ssn [masked:ssn]"),
        ("call +49 30 901820 or +14155550100", "call [masked:phone] or [masked:phone]"),
        ("call (415) 555-0100 or 415-555-0100", "call [masked:phone] or [masked:phone]"),
        ("order 12 4111 1111 1111 1111", "order 12 [masked:card]"),
        ("card 3782 822463 10005", "card [masked:card]"),
        ("schreib an jörg@büro.example", "schreib an [masked:email]"),
        ("ruf 030 901820 an", "ruf [masked:phone] an"),
        ("key sk-proj-abcDEF0123456789abcd", "key [masked:api_key]"),
        ("key sk_live_abcdefghij123456", "key [masked:api_key]"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END", "[masked:api_key]-----END"),
        ("bearer eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "bearer [masked:jwt]"),
        ("key AKIAIOSFODNN7EXAMPLE", "key [masked:api_key]"),
        ("token ghp_" + "a1B2" * 9, "token [masked:api_key]"),
    ],
)
def test_personal_data_and_secrets_are_replaced_by_their_kind(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "order 4111 1111 1111 1112 left on 2026-01-31 at 10:15:30",
        "IBAN DE88 3704 0044 0532 0130 00 has wrong check digits",
        "0000 0000 0000 0000",
        "ssn 000-12-3456 and 666-12-3456 were never issued",
        "version 1.2.3, 1,020 tokens, 99.5 %, port 9092, 1700000000000 ms",
        "see example.org, @home, a@b, sk-short, sk-a-very-long-hyphenated-word",
        "7000 0000 0000 0000 000 passes Luhn's check, and is no card's number",
        "",
    ],
)
def test_what_only_looks_like_personal_data_is_left_alone(text: str) -> None:
    assert mask_text(text) == text


@given(st.text(alphabet=string.printable, max_size=300))
def test_masking_twice_changes_no_more_than_masking_once(text: str) -> None:
    once = mask_text(text)
    assert mask_text(once) == once


@given(st.integers(min_value=4 * 10**14, max_value=5 * 10**14 - 1), st.sampled_from(["", " ", "-"]))
def test_every_card_number_is_masked_in_every_spelling(stem: int, separator: str) -> None:
    number = f"{stem}{luhn_digit(f'{stem}')}"
    spelled = separator.join(re.findall(".{4}", number))
    assert mask_text(f"card {spelled}.") == "card [masked:card]."


def luhn_digit(stem: str) -> int:
    doubled = sum(sum(divmod(2 * int(c), 10)) for c in stem[::-2])
    return -(doubled + sum(int(c) for c in stem[-2::-2])) % 10


def test_every_class_that_intake_looks_for_has_a_masker_and_no_token_is_a_find() -> None:
    assert {masker.kind for masker in MASKERS} == {cls.name for cls in CLASSES} | {"jwt"}
    tokens = [masker.token for masker in MASKERS]
    assert [mask_text(token) for token in tokens] == tokens


@pytest.mark.parametrize("unit", ["1 ", "1-", "1", "AB12 ", "A", "a@", "a.", "sk-", "eyJ-", "+1 234 ", "(123) ", "-"])
def test_the_work_is_linear_in_a_text_made_to_slow_it_down(unit: str) -> None:
    """A quarter of a million characters end within the timeout; a quadratic pattern would take hours."""
    text = unit * (250_000 // len(unit))
    assert len(mask_text(text)) <= len(text)

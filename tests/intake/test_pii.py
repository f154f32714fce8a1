"""A small labelled set of hits and near misses, and what is done with them."""

from __future__ import annotations

import polars as pl
import pytest

from stoploss.intake.pii import PiiWatch, Scan, class_names, labels, scan
from stoploss.intake.pii_classes import BIT, luhn

HITS = [
    ("email", "Schreiben Sie an anna.müller@büro.example.de!", "Schreiben Sie an [email]!"),
    ("email", "メールはtaro+shop@example.co.jpまで", "[email]"),
    ("card", "Your card 4111 1111 1111 1111 was charged", "Your card [card] was charged"),
    ("card", "Karte: 5555-5555-5555-4444.", "Karte: [card]."),
    ("card", "amex 378282246310005", "amex [card]"),
    ("card", "amex 3782 822463 10005 ok", "amex [card] ok"),
    ("card", "MIR/UnionPay 6240008631401148", "MIR/UnionPay [card]"),
    ("card", "order 2027 4111 1111 1111 1111", "order 2027 [card]"),
    ("card", "é4111111111111111é", "é[card]é"),
    ("card", "بطاقة ٤١١١١١١١١١١١١١١١ شكرا", "بطاقة [card] شكرا"),
    ("card", "カード４１１１１１１１１１１１１１１１です", "カード[card]です"),
    ("iban", "Überweisen auf DE89 3704 0044 0532 0130 00 bitte", "Überweisen auf [iban] bitte"),
    ("iban", "IBAN GB82WEST12345698765432.", "IBAN [iban]."),
    ("iban", "compte FR14 2004 1010 0505 0001 3M02 606", "compte [iban]"),
    ("iban", "NO93 8601 1117 947", "[iban]"),
    ("iban", "DE89 3704 0044 0532 0130 00 BANK AG", "[iban] BANK AG"),
    ("iban", "compte DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "compte [iban]"),
    ("iban", "conto de89 3704 0044 0532 0130 00 grazie", "conto [iban] grazie"),
    ("ssn", "SSN: 536-22-1234", "SSN: [ssn]"),
    ("phone", "call +49 151 12345678 now", "call [phone] now"),
    ("phone", "(415) 555-2671", "[phone]"),
    ("phone", "415-555-2671", "[phone]"),
    ("phone", "Tel. 030 12345678", "Tel. [phone]"),
    ("phone", "appelez le 06 12 34 56 78", "appelez le [phone]"),
    ("phone", "電話は03-1234-5678です", "電話は[phone]です"),
    ("phone", "0049 30 901820", "[phone]"),
    ("phone", "llame al 612 34 56 78", "llame al [phone]"),
    ("phone", "chiami 347 123 4567", "chiami [phone]"),
    ("phone", "bel 06-12345678", "bel [phone]"),
    ("api_key", "key sk-proj-aB3dE5fG7hI9jK1lM3nO5 leaked", "key [api_key] leaked"),
    ("api_key", "AKIAIOSFODNN7EXAMPLE", "[api_key]"),
    ("api_key", "token=ghp_" + "a1B2" * 9, "token=[api_key]"),
    ("api_key", "-----BEGIN RSA PRIVATE KEY-----", "[api_key]"),
    ("api_key", "-----BEGIN PRIVATE KEY-----\nMIIEvQ+/w==\n-----END PRIVATE KEY----- ok", "[api_key] ok"),
]

NEAR_MISSES = [
    "order 4111111111111112",
    "order number 1234 5678 9012 3456",
    "Luhn holds, but no scheme begins so: 9111111111111119",
    "micros 1763700000000000, millis 1763700000000",
    "GB82WEST12345698765433",
    "DE89 3704 1144 1532 1130 0",
    "XX82WEST12345698765432",
    "666-22-1234 and 900-12-3456 and 123-00-4567 and 078-05-1120",
    "2025-11-21T10:00:00+01:00",
    "01-01-2025, 21.11.2025, 11/21/2025",
    "192.168.100.200 and 10.0.0.1",
    "550e8400-e29b-41d4-a716-446655440000",
    "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "v1.2.3, left-pad@1.2.3, @mention, a@b",
    "sk-learn-estimators-and-more-checks",
    "item 00000123456789",
    "1+12345678901 = 12345678902",
    "Preis 1.234.567,89 EUR; 12 345 678 Stück",
    "+5 % more, +10 points",
    "0800 1234567, 1-800-356-9377, +49 800 1234567, 0900 1234567",
    "DE35 5201 1239 2207 1515 94 has a digit wrong, and four groups of it are a card's",
    "2221 0496 9425 6953 is no card, and groups of it no phone",
]


@pytest.mark.parametrize(("name", "text", "masked"), HITS)
def test_a_hit_is_found_and_masked(name: str, text: str, masked: str) -> None:
    found = scan(pl.Series([text]))
    assert class_names(int(found.found[0])) == [name]
    assert masked in found.masked[0]
    assert f"[{name}]" in found.masked[0]


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_a_near_miss_is_left_alone(text: str) -> None:
    found = scan(pl.Series([text]))
    assert class_names(int(found.found[0])) == []
    assert found.masked.to_list() == [text]


def test_a_column_is_scanned_row_by_row_and_null_is_no_text() -> None:
    column = pl.Series(["fine", None, "a@example.org and 4111111111111111", ""])
    found = scan(column)
    assert found.found.tolist() == [0, 0, BIT["email"] | BIT["card"], 0]
    assert found.scanned.tolist() == [True, False, True, True]
    assert found.masked.to_list() == ["fine", None, "[email] and [card]", ""]
    assert column.to_list()[2] == "a@example.org and 4111111111111111"


def test_every_occurrence_is_masked_also_where_one_is_part_of_another() -> None:
    found = scan(pl.Series(["b@example.org ab@example.org b@example.org"]))
    assert found.masked.to_list() == ["[email] [email] [email]"]


def test_a_text_masked_once_holds_nothing_more() -> None:
    masked = scan(pl.Series([text for _, text, _ in HITS])).masked
    again = scan(masked)
    assert not again.found.any()
    assert again.masked.to_list() == masked.to_list()


def found_in(text: str) -> Scan:
    return scan(pl.Series([text]))


def test_a_card_is_exposure_and_a_phone_number_only_suspicion() -> None:
    found = found_in("4111111111111111, +49 151 12345678")
    assert class_names(int(found.exposed(PiiWatch.of())[0])) == ["card"]
    assert class_names(int(found.suspected(PiiWatch.of())[0])) == ["phone"]


def test_declared_classes_are_neither() -> None:
    found = found_in("4111111111111111, a@example.org")
    watch = PiiWatch.of(["card", "email", "public"])
    assert not found.exposed(watch).any()
    assert not found.suspected(watch).any()


def test_a_spec_raises_and_lowers_a_class() -> None:
    found = found_in("4111111111111111, a@example.org, +49 151 12345678")
    watch = PiiWatch.of((), {"card": "signal", "email": "gate", "phone": "off"})
    assert class_names(int(found.exposed(watch)[0])) == ["email"]
    assert class_names(int(found.suspected(watch)[0])) == ["card"]


def test_what_a_variant_declares_is_off_whatever_the_spec_raises() -> None:
    watch = PiiWatch.of(["email"], {"email": "gate"})
    assert not found_in("a@example.org").exposed(watch).any()


def test_classes_read_as_a_sentence() -> None:
    assert labels(BIT["card"] | BIT["iban"]) == "an IBAN and a card number"


@pytest.mark.parametrize("digits", ["79927398713", "4242424242424242", "0"])
def test_luhn_takes_right_check_digits_and_no_other(digits: str) -> None:
    others = [digits[:-1] + str(last) for last in range(10)]
    assert [number for number in others if luhn(number)] == [digits]


def test_what_the_sdk_confirmed_and_masked_still_counts() -> None:
    found = scan(
        pl.Series(["charged [masked:card] as asked", "write to [masked:email]", "a [masked: card]", None])
    ).found
    assert found.tolist() == [BIT["card"], BIT["email"], 0, 0]

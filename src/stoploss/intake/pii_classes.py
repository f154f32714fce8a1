"""The shapes of personal data that intake looks for: a pattern each, and for some a validator.

A hit whose validator agrees (a card's Luhn digit, an IBAN's remainder, ...) is exposure; a class without a validator
(e-mail, phone) can only give suspicion. A validator gets a hit and returns the part of it that is the datum, or None.

The patterns run in Rust's regex engine, which knows no look-around. `(?-u:\\b)` is the ASCII word boundary: the Unicode
one makes the engine leave its fast path on any text that is not ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

B = r"(?-u:\b)"
Validator = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class PiiClass:
    """A class of personal data.

    name     as specs list it under dataClasses
    label    as sentences call one
    exposes  true: a confirmed hit is exposure; false: suspicion
    """

    name: str
    label: str
    pattern: str
    confirm: Validator
    exposes: bool


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1 annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


# First digits and lengths of the card schemes; without them one decimal number in ten passes for a card.
_CARD_SCHEMES = re.compile(
    r"4(?:\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}"
)


# Any four groups of four in a longer row of groups: a card may follow a year or an order number.
_CARD_WITHIN = re.compile(r"(?<!\d)(?=(\d{4}(?:[ \u00a0-]?\d{4}){3})(?!\d))")


def card(hit: str) -> str | None:
    if hit[0].isalpha():  # groups of what is nearly an IBAN
        return None
    within = [match[1] for match in _CARD_WITHIN.finditer(hit)]
    return next((part for part in [hit, *within] if _is_card(part)), None)


def _is_card(text: str) -> bool:
    digits = "".join(str(int(char)) for char in text if char.isdecimal())
    return bool(_CARD_SCHEMES.fullmatch(digits)) and luhn(digits)


# Length of an IBAN by country: SWIFT IBAN registry, release 99.
_IBAN_LENGTHS = {
    length: codes.split()
    for length, codes in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD FK",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM TL SO",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
}
_SPACES = " \u00a0\u202f"
_IBAN_LENGTH = {country: length for length, countries in _IBAN_LENGTHS.items() for country in countries}


def iban(hit: str) -> str | None:
    """ISO 13616: the country's length, and remainder 1 modulo 97 (ISO 7064). What follows the number is cut off."""
    wanted = _IBAN_LENGTH.get(hit[:2].upper(), 0)
    ends = [place for place, char in enumerate(hit, 1) if char not in _SPACES]
    if not wanted or len(ends) < wanted:
        return None
    number, rest = hit[: ends[wanted - 1]], hit[ends[wanted - 1] :]
    compact = "".join(char for char in number if char not in _SPACES)
    remainder = int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97
    return number if remainder == 1 and (not rest or rest[0] in _SPACES) else None


_SSN_ADVERTISED = {"078-05-1120", "219-09-9999"}


def ssn(hit: str) -> str | None:
    """Areas 000, 666 and 900-999, group 00 and serial 0000 are never issued (SSA, POMS RM 10201.030)."""
    area, group, serial = hit.split("-")
    issued = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return hit if issued and hit not in _SSN_ADVERTISED else None


def api_key(hit: str) -> str | None:
    """The prefix decides; "sk-" also begins ordinary hyphenated words, so its tail must look drawn at random."""
    if not hit.startswith("sk-"):
        return hit
    tail = hit[3:]
    mixed = any(c.isupper() for c in tail) and any(c.islower() for c in tail)
    return hit if mixed and sum(c.isdigit() for c in tail) >= 3 else None


# Freephone and premium numbers are a company's: 0800 and 0900 in Europe, +49 800, 1-800 and its kin in North America.
_HOTLINE = re.compile(r"(?:0|(?:\+|00)\d{2})[89]00\d+|(?:\+?1)?8(?:00|33|44|55|66|77|88)\d{7}")


def phone(hit: str) -> str | None:
    """8 to 15 digits (ITU-T E.164); the pattern also takes the one character before a plus, and what is no number."""
    if hit[0].isalpha():
        return None
    start = next(place for place, char in enumerate(hit) if char in "+(" or char.isdigit())
    number = hit[start:]
    dialled = "".join(char for char in number if char == "+" or char.isdigit())
    if _HOTLINE.fullmatch(dialled):
        return None
    return number if 8 <= sum(char.isdigit() for char in number) <= 15 else None


def email(hit: str) -> str | None:
    return hit


_GROUP = r"[ \u{a0}-]?"
_CARD = rf"{B}(?:\d{{4}}(?:{_GROUP}\d{{4}}){{3,5}}|\d{{4}}{_GROUP}\d{{6}}{_GROUP}\d{{4,5}}|\d{{14,19}}){B}"
# Arabic-Indic, Devanagari and full-width digits are word characters to Unicode alone, so they stand without a boundary.
_CARD_ELSEWHERE = r"[\p{Nd}--0-9]{4}(?:[ -]?[\p{Nd}--0-9]{4}){3}"
_EMAIL = r"[\p{L}\p{N}._%+\-]+@[\p{L}\p{N}\-]+(?:\.[\p{L}\p{N}\-]+)*\.\p{L}{2,}"
_SPACE = r"[ \u{a0}\u{202f}]?"
_IBAN = rf"{B}[A-Z]{{2}}[0-9]{{2}}(?:{_SPACE}[A-Z0-9]{{4}}){{2,7}}(?:{_SPACE}[A-Z0-9]{{1,3}})?{B}"
_SSN = rf"{B}[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}{B}"
_API_KEY = (
    rf"{B}(?:sk-[A-Za-z0-9_\-]{{20,}}|[sr]k_live_[A-Za-z0-9]{{16,}}|(?:AKIA|ASIA)[A-Z0-9]{{16}}|gh[pousr]_[A-Za-z0-9]{{36,}}"
    r"|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_\-]{20,}|xox[abprs]-[A-Za-z0-9\-]{10,}|AIza[A-Za-z0-9_\-]{35}"
    rf"|hf_[A-Za-z0-9]{{30,}}|npm_[A-Za-z0-9]{{36}}){B}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\s]*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
)
# The first two alternatives are no phone numbers: they keep groups of a longer number from being taken for one.
_PHONE = (
    rf"{_IBAN}|{B}[0-9]{{4}}(?:{_GROUP}[0-9]{{4}}){{3}}{B}"
    rf"|(?:^|[^\w+])\+[1-9][0-9]{{0,2}}(?:[ ./\-]?\(?[0-9]{{1,4}}\)?){{2,6}}{B}"
    rf"|{B}00[1-9][0-9]{{0,2}}[ ./\-](?:\(?[0-9]{{1,4}}\)?[ ./\-]?){{2,5}}{B}"
    rf"|(?:{B}1-)?\([0-9]{{3}}\) ?[0-9]{{3}}[ .\-][0-9]{{4}}{B}|{B}(?:1-)?[0-9]{{3}}[ .\-][0-9]{{3}}[ .\-][0-9]{{4}}{B}"
    rf"|{B}0[0-9]{{2,4}}[ /][0-9]{{3,4}}[ \-]?[0-9]{{2,5}}{B}|{B}0[0-9]{{1,4}}-[0-9]{{3,4}}-[0-9]{{4}}{B}"
    rf"|{B}0[1-9](?:[ .\-][0-9]{{2}}){{4}}{B}|{B}0[1-9] [0-9]{{4}} [0-9]{{4}}{B}"
    rf"|{B}0[1-9][0-9]{{0,3}}[ \-][0-9]{{6,8}}{B}"
    rf"|{B}[679][0-9]{{2}}(?: [0-9]{{2}}){{3}}{B}|{B}[67][0-9]{{2}} [0-9]{{3}} [0-9]{{3}}{B}"
    rf"|{B}9[0-9] [0-9]{{3}} [0-9]{{2}} [0-9]{{2}}{B}"
)

# In this order each class sees the text without the hits of those before it, so a card is not a phone number, too.
CLASSES: tuple[PiiClass, ...] = (
    PiiClass("api_key", "an API key", _API_KEY, api_key, exposes=True),
    PiiClass("email", "an e-mail address", _EMAIL, email, exposes=False),
    PiiClass("iban", "an IBAN", f"(?i:{_IBAN})", iban, exposes=True),
    PiiClass("card", "a card number", f"{_IBAN}|{_CARD}|{_CARD_ELSEWHERE}", card, exposes=True),
    PiiClass("ssn", "a US social security number", _SSN, ssn, exposes=True),
    PiiClass("phone", "a phone number", _PHONE, phone, exposes=False),
)
BIT = {cls.name: 1 << place for place, cls in enumerate(CLASSES)}

"""Personal data and secrets in texts, replaced by the name of what was there.

What only looks like a find is left alone: the validators are those by which intake tells an exposure from a number, so
`[masked:card]` stands for a card that intake would have confirmed, and whoever reads the text later still knows.
Every repetition is bounded, so the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from stoploss.intake.pii_classes import CLASSES

TOKEN = "[masked:{}]"
DIGIT = re.compile(r"[0-9]")
CONFIRM = {cls.name: cls.confirm for cls in CLASSES}


@dataclass(frozen=True, slots=True)
class Masker:
    """One kind of personal data or secret.

    kind     a class of intake's (email | card | iban | ssn | phone | api_key), or jwt
    pattern  what it looks like
    confirm  the part of a hit that is the datum; None: it only looks like one
    """

    kind: str
    pattern: re.Pattern[str]
    confirm: Callable[[str], str | None]

    @property
    def token(self) -> str:
        return TOKEN.format(self.kind)

    def mask(self, text: str) -> str:
        return self.pattern.sub(self._replacement, text)

    def _replacement(self, match: re.Match[str]) -> str:
        datum = self.confirm(match[0])
        return match[0] if datum is None else match[0].replace(datum, self.token)


# Each pattern begins with one character and only then looks behind it: Python scans for a first character fast.
JWT = r"e(?<![A-Za-z0-9].)yJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,1000}"
API_KEY = (
    r"[sprAgxhn-](?<![A-Za-z0-9].)(?:(?<=s)k-[A-Za-z0-9_-]{20,200}|(?<=[spr])k_(?:live|test)_[A-Za-z0-9]{16,200}"
    r"|(?<=A)(?:KIA|SIA)[0-9A-Z]{16}|(?<=A)Iza[A-Za-z0-9_-]{35}"
    r"|(?<=g)h[pousr]_[A-Za-z0-9]{36,255}|(?<=g)ithub_pat_[A-Za-z0-9_]{22,255}|(?<=g)lpat-[A-Za-z0-9_-]{20,200}"
    r"|(?<=x)ox[abprs]-[A-Za-z0-9-]{10,200}|(?<=h)f_[A-Za-z0-9]{30,200}|(?<=n)pm_[A-Za-z0-9]{36}"
    r"|(?<=-)----BEGIN (?:RSA |EC |OPENSSH |DSA |ENCRYPTED )?PRIVATE KEY-----[A-Za-z0-9+/=\s]{0,8000})"
)
EMAIL = r"[\w.%+-](?<![\w.%+-]{2})[\w.%+-]{0,63}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}"
IBAN = (
    r"[A-Za-z](?<![A-Za-z0-9].)[A-Za-z][0-9]{2}(?:[ \u00a0\u202f]?[A-Za-z0-9]{4}){2,7}"
    r"(?:[ \u00a0\u202f]?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])"
)
CARD = r"[0-9](?<![0-9]{2})(?<![0-9][ \u00a0-].)(?:[ \u00a0-]?[0-9]){12,30}(?![0-9])"
SSN = r"[0-9](?<![0-9-].)[0-9]{2}-[0-9]{2}-[0-9]{4}(?![0-9-])"
PHONE = (
    r"[+(0-9](?<![0-9A-Za-z+].)(?<![0-9][ ./-].)(?:(?<=\+)[1-9][0-9]{7,14}"
    r"|(?<=\+)[1-9][0-9]{0,2}[ ./-](?:\([0-9]{1,4}\)[ ./-]?)?[0-9]{1,5}(?:[ ./-][0-9]{2,8}){1,4}"
    r"|(?<=\()[0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}|(?<=[0-9])[0-9]{2}[ .-][0-9]{3}[ .-][0-9]{4}"
    r"|(?<=0)[0-9]{2,4}[ /][0-9]{3,4}[ -]?[0-9]{2,5})(?![ -]?[0-9])"
)


def _masker(kind: str, pattern: str) -> Masker:
    return Masker(kind, re.compile(pattern), CONFIRM.get(kind, str))


JWTS, API_KEYS, EMAILS = _masker("jwt", JWT), _masker("api_key", API_KEY), _masker("email", EMAIL)
NEED_A_DIGIT = (_masker("iban", IBAN), _masker("card", CARD), _masker("ssn", SSN), _masker("phone", PHONE))
MASKERS = (JWTS, API_KEYS, EMAILS, *NEED_A_DIGIT)
"""In the order they are applied: secrets first, for a key may hold digits that look like something else."""


def mask_text(text: str) -> str:
    """The text with every find replaced by `[masked:KIND]`; the same text where there is none.

    >>> mask_text("write to ann@example.org, card 4111-1111-1111-1111, order 4111111111111112")
    'write to [masked:email], card [masked:card], order 4111111111111112'
    """
    text = API_KEYS.mask(JWTS.mask(text))
    if "@" in text:
        text = EMAILS.mask(text)
    if DIGIT.search(text):
        for masker in NEED_A_DIGIT:
            text = masker.mask(text)
    return text

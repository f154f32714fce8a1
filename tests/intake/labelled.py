"""2,000 outputs in six languages of which it is known what personal data they hold: drawn from a seed.

The makers know the formats from their standards (ISO/IEC 7812, ISO 13616, SSA, ITU-T E.123) and share no code with the
detectors, so that a mistake there is not repeated here. No number is anybody's on purpose.
"""

from __future__ import annotations

import string
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.intake.labelled_frames import FRAMES, LANGUAGES, SENTENCES

SEED = 20_261_121
OUTPUTS = 2_000
Make = Callable[[Random, str], str]


@dataclass(frozen=True, slots=True)
class Labelled:
    """kind: a class of personal data, or what only looks like one; classes: what the text holds."""

    text: str
    language: str
    kind: str
    classes: frozenset[str]


def outputs(seed: int = SEED) -> list[Labelled]:
    rng = Random(seed)
    found = []
    for kind, (count, is_class, make) in KINDS.items():
        for place in range(count):
            language = LANGUAGES[place % len(LANGUAGES)]
            frame = rng.choice(FRAMES[language])
            text = frame.replace("{x}", make(rng, language))
            found.append(Labelled(text, language, kind, frozenset({kind} if is_class else ())))
    for place in range(OUTPUTS - len(found)):
        language = LANGUAGES[place % len(LANGUAGES)]
        found.append(Labelled(rng.choice(SENTENCES[language]), language, "no number at all", frozenset()))
    return found


# ---- drawing ---------------------------------------------------------------------------------------


def digits(rng: Random, count: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(count))


def drawn(rng: Random, pattern: str) -> str:
    """A pattern with # for any digit, K for 1 to 7 and M for 2 to 7."""
    choices = {"#": string.digits, "K": "1234567", "M": "234567"}
    return "".join(rng.choice(choices[char]) if char in choices else char for char in pattern)


def one_of(*patterns: str) -> Make:
    return lambda rng, _: drawn(rng, rng.choice(patterns))


def grouped(text: str, sizes: Sequence[int], separator: str) -> str:
    """The text cut into groups; the last size goes on."""
    parts, at = [], 0
    for place in range(len(text)):
        size = sizes[min(place, len(sizes) - 1)]
        parts.append(text[at : at + size])
        at += size
        if at >= len(text):
            break
    return separator.join(parts)


# ---- what is personal data -------------------------------------------------------------------------

SCHEMES = {
    16: ("4", "51", "52", "53", "54", "55", "2221", "2720", "6011", "65", "35", "62"),
    15: ("34", "37"),
    14: ("300", "305", "36", "38"),
}


def check_digit(body: str) -> str:
    """Of ISO/IEC 7812-1: every second digit from the right doubled, digit sums added up to a multiple of ten."""
    doubled = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    total = sum(doubled[int(d)] if at % 2 == 0 else int(d) for at, d in enumerate(reversed(body)))
    return str(-total % 10)


def card_digits(rng: Random) -> str:
    length = rng.choice((16, 16, 16, 16, 15, 14))
    prefix = rng.choice(SCHEMES[length])
    body = prefix + digits(rng, length - 1 - len(prefix))
    return body + check_digit(body)


def as_card(rng: Random, number: str) -> str:
    sizes = (4,) if len(number) == 16 else (4, 6, 5)
    return grouped(number, sizes, rng.choice(("", " ", "-", "\u00a0")))


def card(rng: Random, _: str) -> str:
    return as_card(rng, card_digits(rng))


# By country: the rest of an IBAN, n: digit, a: capital letter, c: either (SWIFT IBAN registry).
IBANS = {
    "DE": "n" * 18,
    "AT": "n" * 16,
    "ES": "n" * 20,
    "NL": "aaaa" + "n" * 10,
    "FR": "n" * 10 + "c" * 11 + "nn",
    "IT": "a" + "n" * 10 + "c" * 12,
    "BE": "n" * 12,
    "GB": "aaaa" + "n" * 14,
    "CH": "n" * 5 + "c" * 12,
    "PL": "n" * 24,
}
LETTERS = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}


def iban_of(rng: Random, country: str, shape: str) -> str:
    rest = "".join(rng.choice(LETTERS[char]) for char in shape)
    number = "".join(str(string.digits.find(c)) if c.isdigit() else str(ord(c) - 55) for c in rest + country + "00")
    return f"{country}{98 - int(number) % 97:02d}{rest}"


def as_iban(rng: Random, number: str) -> str:
    written = grouped(number, (4,), rng.choice(("", " ", " ", "\u00a0")))
    return written.lower() if rng.random() < 0.1 else written


def iban(rng: Random, _: str) -> str:
    return as_iban(rng, iban_of(rng, *rng.choice(sorted(IBANS.items()))))


def ssn(rng: Random, _: str) -> str:
    area = rng.choice([number for number in range(1, 900) if number != 666])
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9_999):04d}"


NAMES = ("anna", "Luis.Garcia", "m_rossi", "jean-luc", "o.de.vries", "j.müller", "sales+eu", "x.y-z", "k4te", "T.O")
DOMAINS = ("example.org", "mail.example.co.uk", "büro.example.de", "example-shop.fr", "EXAMPLE.COM", "a.b.example.nl")


def email(rng: Random, _: str) -> str:
    return f"{rng.choice(NAMES)}{rng.choice(('', digits(rng, 2)))}@{rng.choice(DOMAINS)}"


PHONES = {
    "en": ("(M##) M##-####", "M##-M##-####", "M##.M##.####", "+1 M## M## ####", "+44 20 7### ####", "020 7### ####"),
    "de": ("+49 151 ########", "0151 ########", "030 #######", "030/#######", "0049 30 ######", "+49 (0)30 ######"),
    "fr": ("0K ## ## ## ##", "0K.##.##.##.##", "+33 K ## ## ## ##", "+33K########", "0K-##-##-##-##"),
    "es": ("+34 6## ### ###", "6## ## ## ##", "6## ### ###", "91 ### ## ##", "0034 6## ### ###", "+346########"),
    "it": ("+39 3## ### ####", "3## ### ####", "06 #### ####", "02 #######", "+39 06 ########"),
    "nl": ("+31 6 ########", "06-########", "06 ########", "020-#######", "020 ### ####", "+31 20 ### ####"),
}


def phone(rng: Random, language: str) -> str:
    return drawn(rng, rng.choice(PHONES[language]))


def _mixed(rng: Random, count: int) -> str:
    """Letters of both cases and digits, as secrets are drawn."""
    return "aZ0" + "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(count - 3))


def _capitals(rng: Random, count: int) -> str:
    return "".join(rng.choice(string.ascii_uppercase + string.digits) for _ in range(count))


def api_key(rng: Random, _: str) -> str:
    return rng.choice(
        (
            f"sk-proj-{_mixed(rng, 40)}9a8",
            f"sk_live_{_mixed(rng, 24)}",
            f"AKIA{_capitals(rng, 16)}",
            f"ghp_{_mixed(rng, 36)}",
            f"glpat-{_mixed(rng, 20)}",
            f"xoxb-{digits(rng, 12)}-{_mixed(rng, 24)}",
            f"AIza{_mixed(rng, 35)}",
            f"hf_{_mixed(rng, 34)}",
            f"npm_{_mixed(rng, 36)}",
        )
    )


# ---- what only looks like it -----------------------------------------------------------------------


def wrong_card(rng: Random, _: str) -> str:
    number = card_digits(rng)
    return as_card(rng, number[:-1] + str((int(number[-1]) + rng.randint(1, 9)) % 10))


def wrong_iban(rng: Random, _: str) -> str:
    """One digit of the check is another, which the remainder always shows."""
    number = iban_of(rng, *rng.choice(sorted(IBANS.items())))
    return as_iban(rng, f"{number[:3]}{(int(number[3]) + rng.randint(1, 9)) % 10}{number[4:]}")


def short_iban(rng: Random, _: str) -> str:
    return as_iban(rng, iban_of(rng, *rng.choice(sorted(IBANS.items())))[: -rng.randint(1, 3)])


def order_number(rng: Random, _: str) -> str:
    """Drawn freely, so that by chance a few are what a card's number is."""
    return digits(rng, rng.randint(10, 19))


def unissued_ssn(rng: Random, _: str) -> str:
    return drawn(rng, rng.choice(("000-##-####", "666-##-####", "9##-##-####", "K##-00-####", "K##-##-0000")))


def date(rng: Random, _: str) -> str:
    year, month, day = rng.randint(1990, 2030), rng.randint(1, 12), rng.randint(1, 28)
    hour = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    return rng.choice(
        (
            f"{year}-{month:02d}-{day:02d}T{hour}:00+01:00",
            f"{day:02d}.{month:02d}.{year}",
            f"{day:02d}/{month:02d}/{year} {hour}",
            f"{day:02d}-{month:02d}-{year}",
            f"{year}{month:02d}{day:02d}",
            f"{day:02d}.{month:02d}.{year % 100:02d} - {hour}",
        )
    )


def price(rng: Random, _: str) -> str:
    whole = f"{rng.randint(1_000, 999_999_999):,}"
    spaced = whole.replace(",", "\u00a0" if rng.random() < 0.5 else " ")
    return rng.choice((f"${whole}.99", f"{whole.replace(',', '.')},50 €", f"{spaced},00 €", f"EUR {spaced}"))


def a_uuid(rng: Random, _: str) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def a_hash(rng: Random, _: str) -> str:
    return f"{rng.getrandbits(256):064x}"[: rng.choice((7, 40, 64))]


def version(rng: Random, _: str) -> str:
    a, b, c, d = (rng.randint(0, 255) for _ in range(4))
    return rng.choice((f"{a}.{b}.{c}.{d}", f"v{a}.{b}.{c}", f"left-pad@{a}.{b}.{c}", f"{a}.{b}.{c}-rc.{d}"))


def item_number(rng: Random, _: str) -> str:
    return drawn(
        rng,
        rng.choice(
            ("978-3-16-######-#", "400638133####", "1Z 999 AA1 01 #### ####", "0034##########", "A-####/##-###")
        ),
    )


def handle(rng: Random, _: str) -> str:
    name = rng.choice(("maria", "dev_team", "k.lee", "ops"))
    return rng.choice((f"@{name}", f"{name}@", f"{name} @ 3", f"{name}@host", f"@{name}/widgets"))


def word(rng: Random, _: str) -> str:
    """Ordinary words that begin as a key does."""
    parts = [rng.choice(("learn", "estimators", "pipeline", "and", "more", "checks", "model")) for _ in range(6)]
    return rng.choice((f"sk-{'-'.join(parts)}", "hf_hub_download", "npm_config_registry", "ghp_token", "AKIA"))


KINDS: dict[str, tuple[int, bool, Make]] = {
    "api_key": (150, True, api_key),
    "email": (150, True, email),
    "iban": (150, True, iban),
    "card": (150, True, card),
    "ssn": (150, True, ssn),
    "phone": (150, True, phone),
    "card with a wrong check digit": (60, False, wrong_card),
    "IBAN with a wrong check digit": (60, False, wrong_iban),
    "IBAN that is too short": (30, False, short_iban),
    "SSN that is never issued": (40, False, unissued_ssn),
    "item number written as an SSN is": (20, False, one_of("K##-MM-M###")),
    "order number of 10 to 19 digits": (60, False, order_number),
    "date": (60, False, date),
    "price": (60, False, price),
    "UUID": (60, False, a_uuid),
    "hash": (40, False, a_hash),
    "version or IP address": (60, False, version),
    "hotline or emergency number": (
        60,
        False,
        one_of(
            "0800 #######", "0800-######", "112", "911", "1-800-M##-####", "+49 800 #######", "0900 #######", "116 117"
        ),
    ),
    "ISBN, EAN, parcel or item number": (60, False, item_number),
    "handle or mention": (40, False, handle),
    "word that begins as a key": (30, False, word),
    "coordinates": (40, False, one_of("52.####, 13.####", "-0K.######, 1##.######", "5#° 3#' 1#\" N")),
    "Unix time": (40, False, one_of("17########", "17###########", "17##############")),
}

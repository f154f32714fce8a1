"""Personal data in text columns: found by the column, confirmed and masked hit by hit.

Every text is searched for every class in polars' regex engine; Python sees the hits alone. What is confirmed is
replaced by its class, "[card]", and what a class took is not seen by the classes after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from stoploss.intake.pii_classes import BIT, CLASSES, PiiClass

Bits = npt.NDArray[np.uint8]
MOST_SEARCHED_SINGLY = 32
MASKED_BEFORE = "[masked:"
"""How the SDK's masks begin; they end with the class and a bracket."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a text column holds, per row.

    found    bit set of classes (pii_classes.BIT): validated hits of the exposing classes, any hit of the others
    scanned  whether there was a text
    masked   the texts with each hit replaced by its class in brackets
    """

    found: Bits
    scanned: npt.NDArray[np.bool_]
    masked: pl.Series

    def exposed(self, watch: PiiWatch) -> Bits:
        """Exposure: it trips the gate."""
        return self.found & np.uint8(watch.exposing)

    def suspected(self, watch: PiiWatch) -> Bits:
        """Suspicion: it counts as a signal."""
        return self.found & np.uint8(watch.suspecting)


@dataclass(frozen=True, slots=True)
class PiiWatch:
    """What is looked for in one variant's outputs, as bit sets: classes that expose, and classes that only signal."""

    exposing: int
    suspecting: int

    @classmethod
    def of(cls, allowed: Iterable[str] = (), choices: Mapping[str, str] | None = None) -> PiiWatch:
        """Beyond the allowed classes; `choices` (class -> gate | signal | off) overrule what a class does by itself."""
        usual = {kind.name: "gate" if kind.exposes else "signal" for kind in CLASSES}
        chosen = {**usual, **(choices or {}), **dict.fromkeys(allowed, "off")}
        return cls(
            *(class_bits(name for name, what in chosen.items() if what == wanted) for wanted in ("gate", "signal"))
        )


def class_bits(names: Iterable[str]) -> int:
    """Bit set of the data classes that are patterns here; others ("public") are names for people."""
    return sum({BIT[name] for name in names if name in BIT})


def class_names(bits: int) -> list[str]:
    return [cls.name for cls in CLASSES if bits & BIT[cls.name]]


def labels(bits: int) -> str:
    """For a sentence: "a card number and an IBAN"."""
    return " and ".join(cls.label for cls in CLASSES if bits & BIT[cls.name])


def scan(texts: pl.Series) -> Scan:
    """Search and mask a string column; null: no text."""
    found = np.zeros(len(texts), np.uint8)
    if texts.null_count() == len(texts):
        return Scan(found, np.zeros(len(texts), np.bool_), texts)
    scanned = texts.is_not_null().to_numpy()
    suspects = _suspects(texts)
    masked = texts.clone()  # scatter works in place
    changed: set[int] = set()
    for cls in CLASSES:
        # What an earlier class has taken from a text may have hidden a hit: that text is looked at again.
        rows = sorted({*np.flatnonzero(suspects[cls.name]).tolist(), *changed})
        if rows:
            masked = _mask_class(cls, masked, rows, found, changed)
    _note_masked_before(texts, np.flatnonzero(suspects[MASKED_BEFORE]).tolist(), found)
    return Scan(found, scanned, masked)


def _suspects(texts: pl.Series) -> dict[str, npt.NDArray[np.bool_]]:
    """By class, which texts hold its pattern; all classes in one pass, for most of a small batch's cost is the pass."""
    text = pl.col("text")
    looks = [text.str.contains(cls.pattern).fill_null(False).alias(cls.name) for cls in CLASSES]
    looks.append(text.str.contains(MASKED_BEFORE, literal=True).fill_null(False).alias(MASKED_BEFORE))
    seen = texts.alias("text").to_frame().select_seq(looks)
    return {name: seen[name].to_numpy() for name in seen.columns}


def _note_masked_before(texts: pl.Series, rows: list[int], found: Bits) -> None:
    """Marks what the SDK confirmed and masked in the service: the user saw it all the same (emit/masking.py)."""
    for row, text in zip(rows, texts.gather(rows), strict=True):
        for cls in CLASSES:
            if f"{MASKED_BEFORE}{cls.name}]" in text:
                found[row] |= BIT[cls.name]


def _mask_class(cls: PiiClass, texts: pl.Series, rows: list[int], found: Bits, changed: set[int]) -> pl.Series:
    """The texts without the hits of one class in some rows; marks the rows that had one."""
    candidates = texts.gather(rows)
    hits = candidates.str.extract_all(cls.pattern).to_list()
    confirmed = [_confirmed(cls, hit) for hit in hits]
    held = [(row, text, data) for row, text, data in zip(rows, candidates, confirmed, strict=True) if data]
    if not held:
        return texts
    places = [row for row, _, _ in held]
    found[places] |= BIT[cls.name]
    changed.update(places)
    return texts.scatter(places, [_without(text, data, f"[{cls.name}]") for _, text, data in held])


def _confirmed(cls: PiiClass, hits: list[str]) -> list[str]:
    """The confirmed data among a text's hits, longest first: one may be part of another."""
    data = {part for hit in dict.fromkeys(hits) if (part := cls.confirm(hit)) is not None}
    return sorted(data, key=lambda part: (-len(part), part))


def _without(text: str, data: list[str], mask: str) -> str:
    """Each datum by itself goes through the whole text again, so many of them are looked for together."""
    if len(data) > MOST_SEARCHED_SINGLY:
        return str(pl.Series([text]).str.replace_many(data, [mask], leftmost=True)[0])
    for part in data:
        text = text.replace(part, mask)
    return text

"""How well intake finds personal data: `python bench/pii.py` prints the tables of docs/pii.md.

The outputs are those of tests/intake/labelled.py, whose seed gives the same ones on every machine; a count is the same
number everywhere. Intervals are exact (Clopper, Pearson, Biometrika 26, 1934), 95 %.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
from scipy.special import betaincinv

from stoploss.intake.pii import class_names, scan
from stoploss.intake.pii_classes import CLASSES
from tests.intake.labelled import KINDS, SEED, Labelled, outputs


def exact_interval(events: int, trials: int, alpha: float = 0.05) -> tuple[float, float]:
    """Clopper-Pearson limits of a rate.

    >>> [round(limit, 4) for limit in exact_interval(0, 150)]
    [0.0, 0.0243]
    """
    lower = float(betaincinv(events, trials - events + 1, alpha / 2)) if events else 0.0
    upper = float(betaincinv(events + 1, trials - events, 1 - alpha / 2)) if events < trials else 1.0
    return lower, upper


def found_in(texts: list[Labelled]) -> list[frozenset[str]]:
    """Classes that intake finds in each text."""
    found = scan(pl.Series([labelled.text for labelled in texts])).found
    return [frozenset(class_names(int(bits))) for bits in found]


def rate(events: int, trials: int) -> str:
    """'148 of 150: 98.7 % (95.3 to 99.8)'."""
    low, high = exact_interval(events, trials)
    return f"{events} of {trials:,}: {100 * events / trials:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def by_class(texts: list[Labelled], found: list[frozenset[str]]) -> Iterator[str]:
    yield "| class | alone it | found | missed | false alarms |"
    yield "|---|---|---|---|---|"
    for cls in CLASSES:
        held = [cls.name in seen for labelled, seen in zip(texts, found, strict=True) if cls.name in labelled.classes]
        free = [
            cls.name in seen for labelled, seen in zip(texts, found, strict=True) if cls.name not in labelled.classes
        ]
        does = "trips the gate" if cls.exposes else "is a signal"
        missed = len(held) - sum(held)
        yield f"| {cls.name} | {does} | {rate(sum(held), len(held))} | {missed} | {rate(sum(free), len(free))} |"


def by_kind(texts: list[Labelled], found: list[frozenset[str]]) -> Iterator[str]:
    yield "| what only looks like it | texts | taken for |"
    yield "|---|---|---|"
    for kind in [*(kind for kind, (_, is_class, _) in KINDS.items() if not is_class), "no number at all"]:
        seen = [names for labelled, names in zip(texts, found, strict=True) if labelled.kind == kind]
        counts = {cls.name: sum(cls.name in names for names in seen) for cls in CLASSES}
        taken = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        yield f"| {kind} | {len(seen)} | {taken or 'nothing'} |"


def report(seed: int = SEED) -> str:
    """Both tables as Markdown."""
    texts = outputs(seed)
    found = found_in(texts)
    return "\n".join([*by_class(texts, found), "", *by_kind(texts, found)])


if __name__ == "__main__":
    print(report())

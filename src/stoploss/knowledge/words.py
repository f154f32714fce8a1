"""Words of a text, as a search compares them."""

from __future__ import annotations

import re

WORD = re.compile(r"[^\W_]+")
FILLING = frozenset(
    ("a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it", "no", "not", "of", "on", "or")
    + ("than", "that", "the", "to", "was", "with")
)


def words(text: str) -> list[str]:
    """Each once, in lower case, in the order of the text, without those that every sentence has.

    >>> words("The smaller model is as good: gpt-4o, PII_exposed")
    ['smaller', 'model', 'good', 'gpt', '4o', 'pii', 'exposed']
    """
    return [word for word in dict.fromkeys(WORD.findall(text.lower())) if word not in FILLING]

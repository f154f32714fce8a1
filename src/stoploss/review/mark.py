"""What every part of a review in Markdown is made of: text that stays text, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from stoploss.review.words import printable

_SPECIAL = re.compile(r"([\\|`*<\[\]])")


def escaped(text: str) -> str:
    """Text of a sender, so that it is text in Markdown too, on one line.

    >>> escaped("a|b\\n<script>")
    'a\\\\|b \\\\<script>'
    """
    return _SPECIAL.sub(r"\\\1", printable(text))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(escaped, row))} |"


def section(title: str, *lines: str) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield from lines


def labelled(label: str, text: str) -> str:
    return f"- **{escaped(label)}:** {escaped(text)}"

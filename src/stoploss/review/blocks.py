"""A review's Markdown as blocks, so that a page and an HTML file say what the Markdown says.

Only what review/markdown.py writes is read: headings, bullets, tables and paragraphs; a backslash makes text of what
follows. All of it stays text: the template escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

_CELLS = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|(-{3}\|)+")
_ESCAPED = re.compile(r"\\([\\|`*<\[\]])")
_LABELLED = re.compile(r"\*\*(.+?):\*\* (.*)")


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """A bullet; label is the part in bold, or empty."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


Block = Heading | Items | Table | Paragraph


def blocks(markdown: str) -> Iterator[Block]:
    """
    >>> list(blocks("# A \\\\| b\\n\\n- **Why:** c\\n"))
    [Heading(level=1, text='A | b'), Items(items=(Item(label='Why', text='c'),))]
    """
    for kind, lines in groupby(markdown.splitlines(), _kind):
        match kind:
            case "heading":
                for line in lines:
                    marks, _, text = line.partition(" ")
                    yield Heading(len(marks), _text(text))
            case "item":
                yield Items(tuple(_item(line.strip().removeprefix("- ")) for line in lines))
            case "table":
                header, *rows = [_row(line) for line in lines if not _RULE.fullmatch(line)]
                yield Table(header, tuple(rows))
            case "paragraph":
                for line in lines:
                    yield Paragraph(_text(line))


def _kind(line: str) -> str:
    if not line:
        return "nothing"
    if line.startswith("#"):
        return "heading"
    return {"- ": "item", "| ": "table", "|-": "table"}.get(line.lstrip()[:2], "paragraph")


def _item(text: str) -> Item:
    labelled = _LABELLED.fullmatch(text)
    return Item(_text(labelled[1]), _text(labelled[2])) if labelled else Item("", _text(text))


def _row(line: str) -> tuple[str, ...]:
    return tuple(_text(cell.strip()) for cell in _CELLS.split(line)[1:-1])


def _text(escaped: str) -> str:
    return _ESCAPED.sub(r"\1", escaped)

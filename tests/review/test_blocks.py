"""The page of a review shows every word that `stoploss review` writes."""

from __future__ import annotations

import re

import pytest

from stoploss.review.blocks import Heading, Items, Paragraph, Table, blocks
from stoploss.review.markdown import escaped


def test_headings_bullets_tables_and_paragraphs_are_told_apart() -> None:
    text = "# Title\n\n- **Why:** because\n- plain\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nA line.\n"
    heading, items, table, paragraph = blocks(text)
    assert heading == Heading(1, "Title")
    assert isinstance(items, Items)
    assert [(item.label, item.text) for item in items.items] == [("Why", "because"), ("", "plain")]
    assert table == Table(("a", "b"), (("1", "2"),))
    assert paragraph == Paragraph("A line.")


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a | b", "`x` *y* [z](javascript:x)", "back\\slash"])
def test_what_was_escaped_comes_back_as_it_was(hostile: str) -> None:
    (paragraph,) = blocks(f"x {escaped(hostile)}")
    assert paragraph == Paragraph(f"x {hostile}")
    (table,) = blocks(f"| a | b |\n|---|---|\n| {escaped(hostile)} | 2 |")
    assert table == Table(("a", "b"), ((hostile, "2"),))


def test_a_header_may_be_empty() -> None:
    (table,) = blocks("|  | metric |\n|---|---|\n| target | x |")
    assert table == Table(("", "metric"), (("target", "x"),))


def test_no_word_is_lost() -> None:
    text = "# a b\n\n- **c:** d\n\n## e\n\n| f | g |\n|---|---|\n| h | i |\n\nj"
    assert re.findall(r"\b[a-j]\b", repr(list(blocks(text)))) == list("abcdefghij")

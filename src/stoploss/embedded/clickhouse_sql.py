"""Where a ClickHouse statement ends and its rows begin.

ClickHouse's HTTP interface takes `INSERT … FORMAT X` and the rows in one stream of bytes. A scan over the tokens
finds the border; quoted names, strings and comments that contain the word FORMAT, or columns and tables called
so, do not mislead it. It reads no further than the border, and rows are never scanned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""
      (?P<blank>   \s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/ )
    | (?P<quoted>  '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `(?:[^`\\]|\\.)*` )
    | (?P<word>    [A-Za-z_][A-Za-z0-9_]* )
    | (?P<open>    [(\[{] )
    | (?P<close>   [)\]}] )
    | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
# The blanks ClickHouse skips between the format's name and the rows: at most one line break.
_BORDER = re.compile(rb"[ \t\f]*\r?\n?")
# After these words of an INSERT the engine reads the rest itself.
_ENGINE_READS = (b"SELECT", b"WITH", b"VALUES", b"WATCH", b"INFILE")
# The word after one of these is a name, even if it reads FORMAT.
_NAME_FOLLOWS = (b"INTO", b"TABLE", b"FUNCTION", b".")


@dataclass(frozen=True, slots=True)
class RowsInsert:
    """An INSERT whose rows follow it.

    statement  the text up to FORMAT, with its SETTINGS clause if there is one
    format     name of the input format
    rows_at    index of the first byte of the rows in the scanned text
    """

    statement: str
    format: str
    rows_at: int


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: bytes
    start: int
    end: int

    @property
    def upper(self) -> bytes:
        return self.text.upper() if self.kind != "quoted" else b""


def split_insert(sql: bytes) -> RowsInsert | None:
    """The INSERT … FORMAT at the start of `sql`, or None if `sql` is any other statement."""
    tokens = _top_level(sql)
    first = next(tokens, None)
    if first is None or first.upper != b"INSERT":
        return None
    previous = first
    for token in tokens:
        if previous.upper == b"FORMAT" and token.kind == "word":
            border = _BORDER.match(sql, token.end)
            return RowsInsert(
                statement=sql[: previous.start].decode(),
                format=token.text.decode(),
                rows_at=border.end() if border else token.end,
            )
        is_name = previous.upper in _NAME_FOLLOWS
        if not is_name and token.upper in _ENGINE_READS:
            return None
        # A name that reads FORMAT must not be taken for the keyword at the next token.
        previous = _Token("quoted", token.text, token.start, token.end) if is_name and token.kind == "word" else token
    return None


def result_format(sql: bytes) -> str | None:
    """The format that the statement's own FORMAT clause asks for."""
    before, last = None, None
    for token in _top_level(sql):
        if token.text == b";" or token.upper == b"SETTINGS":
            break
        before, last = last, token
    if before and last and before.upper == b"FORMAT" and last.kind == "word":
        return last.text.decode()
    return None


def is_driver_hello(sql: bytes) -> bool:
    """Whether it is the first query of ClickHouse's Go driver over HTTP."""
    words = b"".join(token.text for token in _tokens(sql)).lower()
    return words.removesuffix(b";") == b"selectdisplayname(),version(),revision(),timezone()"


def quoted_name(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def quoted_text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _tokens(sql: bytes) -> Iterator[_Token]:
    for match in _TOKEN.finditer(sql):
        if match.lastgroup and match.lastgroup != "blank":
            yield _Token(match.lastgroup, match.group(), match.start(), match.end())


def _top_level(sql: bytes) -> Iterator[_Token]:
    """Tokens outside all brackets."""
    depth = 0
    for token in _tokens(sql):
        depth -= token.kind == "close"
        if depth == 0:
            yield token
        depth += token.kind == "open"

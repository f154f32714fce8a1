"""Printing: colour only where a terminal wants it, JSON that every parser reads, files whole or not at all."""

from __future__ import annotations

import io
import json
import math

import pytest

from stoploss.cli import output
from stoploss.errors import StoplossError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"),
    [(Terminal(), None, True), (Terminal(), "1", False), (io.StringIO(), None, False), (Terminal(), "", True)],
)
def test_colour_is_only_for_a_terminal_without_no_color(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, no_color: str | None, coloured: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    output.console(stream).print("x", style="red")
    assert ("\x1b[31m" in stream.getvalue()) == coloured


def test_text_in_brackets_is_no_markup() -> None:
    stream = io.StringIO()
    output.console(stream).print("guardrail[0] :x: [red]y[/red]")
    assert stream.getvalue() == "guardrail[0] :x: [red]y[/red]\n"


def test_json_has_null_where_a_number_is_not_finite() -> None:
    assert json.loads(output.json_text({"limits": (1.0, math.inf, math.nan, None)})) == {
        "limits": [1, None, None, None]
    }


def test_an_error_is_one_line_without_control_codes() -> None:
    assert output.error_sentence(StoplossError("bad\x1b[31m\nname")) == "stoploss: bad?[31m name"

"""Printing for people and for programs: rich on a terminal, plain in a pipe, JSON where asked for."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from stoploss.errors import ConfigurationError, StoplossError
from stoploss.review.plain import plain
from stoploss.review.words import printable

PIPE_COLUMNS = 160
"""Width of tables where no terminal says its own and COLUMNS is not set."""


def is_terminal() -> bool:
    return sys.stdout.isatty()


def console(stream: TextIO | None = None) -> Console:
    """A console on stdout, or `stream`: no colour where NO_COLOR is set or it is no terminal; markup is off."""
    file = stream or sys.stdout
    terminal = file.isatty()
    coloured = terminal and not os.environ.get("NO_COLOR")
    width = None if terminal else shutil.get_terminal_size((PIPE_COLUMNS, 24)).columns
    return Console(
        file=file,
        width=width,
        force_terminal=terminal,
        color_system="auto" if coloured else None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def show(renderable: Any) -> None:
    console().print(renderable)


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """Documents and their parts as JSON; None and what is not finite are null."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    sys.stdout.write(f"{json_text(value, indent=indent)}\n")
    sys.stdout.flush()


def write_file(path: Path, text: str) -> None:
    """Whole or not at all; raises ConfigurationError where it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}; name a file in a directory that exists and is yours"
        ) from error


def error_sentence(error: StoplossError) -> str:
    """What went wrong on one line, without control characters of whatever it quotes."""
    return f"stoploss: {printable(str(error))}"

"""Recorded requests from a file, as JSON objects with the fields of schemas/trace.avsc.

JSONL: an object a line. CSV: a column per field; empty cells are left out, lists and objects are written as JSON, and
the columns `experiment` and `variant` stand for `assignments` of one experiment.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stoploss.errors import ConfigurationError
from stoploss.wire import schemas

SHORTHAND = ("experiment", "variant")
Record = dict[str, Any]


def recorded(file: Path) -> Iterator[bytes]:
    """One JSON object per request; raises ConfigurationError that names file, line and column."""
    if file.exists() and not file.is_file():
        raise ConfigurationError(f"{file} is no file; write what is to be sent into one, for it is read twice")
    read = _from_csv if file.suffix.lower() == ".csv" else _from_jsonl
    try:
        yield from read(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}; write it in UTF-8") from error


def _from_jsonl(file: Path) -> Iterator[bytes]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            if not _is_object(line):
                raise ConfigurationError(f"{file} line {number} is no JSON object; write one trace a line")
            yield line.strip()


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _from_csv(file: Path) -> Iterator[bytes]:
    kinds = _kinds()
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        _require_columns(file, reader.fieldnames or [], kinds)
        for row in reader:
            where = f"{file} line {reader.line_num}"
            if None in row or None in row.values():
                raise ConfigurationError(f"{where} has not as many cells as the first line has names")
            yield json.dumps(_record(where, row, kinds), ensure_ascii=False).encode()


def _kinds() -> dict[str, bool]:
    """Of each field, whether it is plain text; all else is written as JSON writes it."""
    fields = schemas.schema("trace").source["fields"]
    return {field["name"]: _is_text(field["type"]) for field in fields}


def _is_text(kind: Any) -> bool:
    if isinstance(kind, list):
        return any(_is_text(branch) for branch in kind)
    return kind == "string" or (isinstance(kind, dict) and kind["type"] == "enum")


def _require_columns(file: Path, columns: Sequence[str], kinds: dict[str, bool]) -> None:
    if unknown := [column for column in columns if column not in (*kinds, *SHORTHAND)]:
        raise ConfigurationError(
            f"{file} has columns that no trace has: {', '.join(map(repr, unknown))}; there are {', '.join(kinds)}, and "
            f"{' and '.join(SHORTHAND)}"
        )
    if missing := [name for name in ("trace_id", "at") if name not in columns]:
        raise ConfigurationError(f"{file} has no column {' and '.join(missing)}; every trace needs its id and its time")


def _record(where: str, row: dict[str, str], kinds: dict[str, bool]) -> Record:
    filled = {name: cell for name, cell in row.items() if cell}
    record = {name: _value(where, name, cell, kinds[name]) for name, cell in filled.items() if name not in SHORTHAND}
    if named := {name: filled[name] for name in SHORTHAND if name in filled}:
        record["assignments"] = [named]
    return record


def _value(where: str, name: str, cell: str, is_text: bool) -> Any:
    if is_text or (name == "at" and not cell.isdigit()):  # a time may be written as ISO 8601
        return cell
    try:
        return json.loads(cell)
    except ValueError as error:
        raise ConfigurationError(
            f"{where}, {name}: {cell!r} is no value that JSON knows; write numbers plainly, true or false, lists in []"
        ) from error

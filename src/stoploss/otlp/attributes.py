"""Attributes to fields: by name through the alias table, by bytes through a memory of what came before.

An attribute that says what one before it said costs a look-up of its bytes. Model names, operations and small token
counts do so nearly always; what is long or seldom is parsed each time and not remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from stoploss.errors import ConfigurationError
from stoploss.otlp.aliases import ALIASES, PREFIXED
from stoploss.otlp.messages import KeyValue
from stoploss.otlp.values import Held

Target = tuple[str, int]
UNWANTED: Held = ("", 0, None)
MOST_REMEMBERED = 65_536
LONGEST_REMEMBERED_BYTES = 128
DEEPEST = 12
METADATA = "metadata"
"""OpenInference's attribute that holds an object as JSON; its members are named metadata.KEY."""

_STRING_KEY = 0x0A
_ONE_BYTE = 0x80


class Attributes:
    """Reads the attributes that the alias table names, and `more`: attribute -> field of its own."""

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        targets = {name: (field, rank) for field, names in ALIASES.items() for rank, name in enumerate(names)}
        for name, field in (more or {}).items():
            if name in targets:
                raise ConfigurationError(
                    f"the attribute {name} is read as {targets[name][0]} already; configure another attribute"
                )
            targets[name] = (field, 0)
        self._metadata = {
            name.removeprefix(f"{METADATA}."): target
            for name, target in targets.items()
            if name.startswith(f"{METADATA}.")
        }
        self._targets: dict[str, Target] = targets
        self._by_bytes = {name.encode(): target for name, target in targets.items()}
        self._beginnings = tuple(begin.encode() for _, begin, _ in PREFIXED)
        self._known: dict[bytes, Held] = {}

    def read(self, raws: Iterable[bytes]) -> dict[str, Held]:
        """Fields of KeyValue messages. Raises DecodeError where one of them is none."""
        found: dict[str, Held] = {}
        known = self._known
        for raw in raws:
            held = known.get(raw) or self._learn(raw)
            if held is not UNWANTED:
                before = found.setdefault(held[0], held)
                if held[1] < before[1]:
                    found[held[0]] = held
        return self._with_members(found) if METADATA in found else found

    def read_json(self, listed: Iterable[tuple[str, Any]]) -> dict[str, Held]:
        """Fields of names with their plain values."""
        found: dict[str, Held] = {}
        for name, value in listed:
            if (target := self._target(name)) is not None:
                held = (*target, value)
                if held[1] < found.setdefault(held[0], held)[1]:
                    found[held[0]] = held
        return self._with_members(found) if METADATA in found else found

    def _learn(self, raw: bytes) -> Held:
        held = self._parse(raw)
        if len(raw) <= LONGEST_REMEMBERED_BYTES:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[raw] = held
        return held

    def _parse(self, raw: bytes) -> Held:
        if len(raw) > 2 and raw[0] == _STRING_KEY and raw[1] < _ONE_BYTE:
            key = raw[2 : 2 + raw[1]]
            wanted = key in self._by_bytes or key == b"metadata" or key.startswith(self._beginnings)
            if not wanted:
                return UNWANTED
        pair = KeyValue.FromString(raw)
        target = self._target(pair.key)
        return UNWANTED if target is None else (*target, plain(pair.value))

    def _target(self, name: str) -> Target | None:
        target = self._targets.get(name)
        if target is not None:
            return target
        if name == METADATA:
            return (METADATA, 0) if self._metadata else None
        for field, begin, end in PREFIXED:
            if name.startswith(begin) and name.endswith(end):
                place = name[len(begin) : -len(end)]
                return (field, -int(place)) if place.isascii() and place.isdigit() and len(place) < 6 else None
        return None

    def _with_members(self, found: dict[str, Held]) -> dict[str, Held]:
        """The fields with those that members of the metadata stand for."""
        _, _, value = found.pop(METADATA)
        try:
            parsed = orjson.loads(value) if isinstance(value, str) else None
        except orjson.JSONDecodeError:
            return found  # somebody else's attribute of the same name
        if not isinstance(parsed, dict):
            return found
        members = {self._metadata[key]: member for key, member in parsed.items() if key in self._metadata}
        return {field: (field, rank, member) for (field, rank), member in members.items()} | found


def plain(value: Any, depth: int = 0) -> Any:
    """An AnyValue as Python has it; what lies too deep is left out."""
    kind = value.WhichOneof("value")
    if kind is None or depth > DEEPEST:
        return None
    held = getattr(value, kind)
    if kind == "array":
        return [plain(item, depth + 1) for item in held.values]
    if kind == "pairs":
        return {pair.key: plain(pair.value, depth + 1) for pair in held.values}
    return held

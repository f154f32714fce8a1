"""Golden files: a ledger, compressed, and the journal as text, one entry a line, so that a change can be read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from stoploss import __version__, journal, ledger
from stoploss.ledger import Entry
from stoploss.replay import StoredEntry, replay
from stoploss.review.plain import plain
from stoploss.rules import rules_version
from tests.refold import HEAD

HERE = Path(__file__).parent
Line = dict[str, Any]


@dataclass(frozen=True)
class Golden:
    """A journal as text: the version and rules that made it, the hash that its chain ends in, and its entries."""

    stoploss: str
    rules: str
    chain: str
    entries: tuple[Line, ...]

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Golden:
        lines = tuple(json.loads(json.dumps(plain(journal.decode(value)))) for value in values)
        return cls(__version__, rules_version(), journal.hash_of(values[-1]), lines)

    @classmethod
    def read(cls, name: str) -> Golden:
        head, *entries = map(json.loads, journal_file(name).read_text().splitlines())
        return cls(**head, entries=tuple(entries))

    def write(self, name: str) -> None:
        lines = ({"stoploss": self.stoploss, "rules": self.rules, "chain": self.chain}, *self.entries)
        journal_file(name).write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))


def ledger_file(name: str) -> Path:
    return HERE / f"{name}.ledger.gz"


def journal_file(name: str) -> Path:
    return HERE / f"{name}.journal.jsonl"


def packed(entries: Sequence[Entry]) -> bytes:
    """The entries as tests/refold.py has them in a file; the same entries give the same bytes."""
    facts = ((entry, ledger.encode(entry.fact)) for entry in entries)
    body = b"".join(HEAD.pack(entry.offset, entry.at, len(fact)) + fact for entry, fact in facts)
    return gzip.compress(body, mtime=0)


def stored(name: str) -> Iterator[StoredEntry]:
    """The entries of a golden ledger, as a replay takes them."""
    data, position = gzip.decompress(ledger_file(name).read_bytes()), 0
    while position < len(data):
        offset, at, size = HEAD.unpack_from(data, position)
        position += HEAD.size + size
        yield StoredEntry(0, offset, at, data[position - size : position])


def judged(name: str) -> Golden:
    """The journal that the judge makes today of a golden ledger."""
    (values,) = replay(stored(name), 0, "stoploss.control").values()
    return Golden.of(values)


def difference(before: Golden, now: Golden, name: str) -> str:
    """Field by field; empty where the entries are equal."""
    lines = [[line for entry in one.entries for line in _pretty(entry)] for one in (before, now)]
    return "\n".join(unified_diff(*lines, f"{name}, golden", f"{name}, now", lineterm="", n=3))


def _pretty(entry: Line) -> list[str]:
    """Without what only chains the entries: it differs in all entries behind a difference."""
    said = {name: value for name, value in entry.items() if name not in ("previous", "number")}
    return json.dumps(said, indent=1, ensure_ascii=False).splitlines()


def is_unannounced(before: Golden, now: Golden) -> bool:
    """Whether the rules conclude something else although no version says so: what a replay could not explain."""
    announced = (before.stoploss, before.rules) != (now.stoploss, now.rules)
    return not announced and _findings(before) != _findings(now)


def _findings(golden: Golden) -> list[Line]:
    """What the rules concluded, without the words for it."""
    told = [(entry["ledger_offset"], entry["conclusion"]) for entry in golden.entries]
    return [
        {"offset": offset, **said["evidence"], "verdict": said["verdict"], "reason": said["reason"]}
        for offset, said in told
        if "evidence" in said
    ]

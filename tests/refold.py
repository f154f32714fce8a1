"""Folds ledger entries of a file in a process of its own: `python -m tests.refold FILE` prints a hash of all outputs.

the file  for each entry: offset, time and length of the fact, 8 bytes each, little-endian; then the fact as encoded
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from stoploss import ledger
from stoploss.ledger import Entry
from stoploss.outputs import Output
from stoploss.state import PartitionState
from tests.timelines import bytes_of, refolded, stored

HEAD = struct.Struct("<qqq")


def write_entries(path: Path, entries: Iterable[Entry]) -> None:
    with path.open("wb") as out:
        for entry in entries:
            fact = ledger.encode(entry.fact)
            out.write(HEAD.pack(entry.offset, entry.at, len(fact)) + fact)


def read_entries(path: Path) -> Iterator[Entry]:
    data, position = path.read_bytes(), 0
    while position < len(data):
        offset, at, size = HEAD.unpack_from(data, position)
        position += HEAD.size
        yield Entry(0, offset, at, ledger.decode(data[position : position + size]))
        position += size


def digest(entries: Iterable[Entry]) -> str:
    """Hash of everything that leaves the judge, and of the state that it is left in."""
    state = PartitionState(0)
    outputs = refolded(entries, state)
    return f"{len(outputs)} {_hash([*bytes_of(outputs), stored(state)])}"


def hash_of(outputs: Iterable[Output]) -> str:
    """Of everything that leaves the judge alone: a test may have spoilt the state for its own ends."""
    return _hash(bytes_of(outputs))


def _hash(values: Iterable[bytes]) -> str:
    body = hashlib.sha256()
    for value in values:
        body.update(len(value).to_bytes(8, "little") + value)
    return body.hexdigest()


if __name__ == "__main__":
    print(digest(read_entries(Path(sys.argv[1]))))  # noqa: T201

"""State to bytes and back, without pickle: JSON for the tree, raw little-endian arrays beside it, zstd, and a MAC.

    bytes 0..7    magic and format version
    bytes 8..39   HMAC-SHA256 over the rest
    rest          zstd of: 8-byte length of the JSON, the JSON, the arrays

The JSON holds the version of river beside the tree, for its detectors give bytes of a private form.

The tree is made from the state's own dataclasses (trees.py). What does not verify is refused; the caller folds the
ledger instead, so a lost or corrupt snapshot costs time, never truth. Arrays go into the compressor and come out of it
one by one: of many experiments they would fill gigabytes together.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.metadata
import json
from typing import Any, TypeVar

import zstandard

from stoploss import trees
from stoploss.errors import SnapshotUnreadable

MAGIC = b"STPLSNP2"
MAC_SIZE = 32
RIVER = importlib.metadata.version("river")
_OF_ANOTHER_FORM = (
    zstandard.ZstdError,
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
)
"""What bytes under the right MAC raise that another version wrote, or a fault of ours."""
T = TypeVar("T")


def dump(state: Any, secret: bytes) -> bytes:
    """A dataclass as one snapshot; `secret` keys the MAC."""
    arrays: list[trees.Array] = []
    made = {"river": RIVER, "state": trees.written(state, arrays)}
    tree = json.dumps(made, separators=(",", ":")).encode()
    zstd = zstandard.ZstdCompressor(level=3).compressobj()
    parts = [zstd.compress(len(tree).to_bytes(8, "little") + tree), *(zstd.compress(array.data) for array in arrays)]
    packed = b"".join([*parts, zstd.flush()])
    return MAGIC + _mac(packed, secret) + packed


def load(kind: type[T], data: bytes, secret: bytes) -> T:
    """Raises SnapshotUnreadable where the bytes are not a whole snapshot of this format made with this secret."""
    header, mac, packed = data[:8], data[8 : 8 + MAC_SIZE], data[8 + MAC_SIZE :]
    if header != MAGIC:
        raise SnapshotUnreadable(f"format {header!r} is not {MAGIC!r}; fold the ledger instead")
    if not hmac.compare_digest(mac, _mac(packed, secret)):
        raise SnapshotUnreadable("the MAC does not verify: other secret, or altered bytes; fold the ledger instead")
    try:
        body = zstandard.ZstdDecompressor().stream_reader(packed)
        size = int.from_bytes(body.read(8), "little")
        made = json.loads(body.read(size))
        if made.get("river") != RIVER:
            raise SnapshotUnreadable(f"made with river {made.get('river')}, this is {RIVER}; fold the ledger instead")
        return trees.read(kind, made["state"], body)  # type: ignore[no-any-return]
    except _OF_ANOTHER_FORM as error:
        raise SnapshotUnreadable(f"the state is not of this version: {error!r}; fold the ledger instead") from error


def _mac(packed: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, MAGIC + packed, hashlib.sha256).digest()

"""State to bytes and back, without pickle: JSON for the tree, raw little-endian arrays beside it, zstd, and a MAC.

    bytes 0..7    magic and format version
    bytes 8..39   HMAC-SHA256 over the rest
    rest          zstd of: 8-byte length of the JSON, the JSON, the arrays

The JSON holds the version of river beside the tree, for its detectors give bytes of a private form.

The tree is made from the state's own dataclasses: each field is a plain value, a NumPy array, or another of these.
A class that knows better gives `to_plain` and `from_plain` (river's detectors do). What does not verify is refused;
the caller folds the ledger instead, so a lost or corrupt snapshot costs time, never truth.

A field that a version adds may be marked `metadata={"since": VERSION}`: states of the version before, which lack it,
are then read with its default. A state with a field that this version does not know is a newer version's, and refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import importlib.metadata
import json
import types
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import zstandard

from stoploss.errors import SnapshotUnreadable

MAGIC = b"STPLSNP1"
MAC_SIZE = 32
RIVER = importlib.metadata.version("river")
LARGEST_STATE = 1 << 30
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
AS_THEY_ARE = frozenset({str, int, float, bool, types.NoneType})
T = TypeVar("T")


def dump(state: Any, secret: bytes) -> bytes:
    """A dataclass as one snapshot; `secret` keys the MAC."""
    arrays: list[np.ndarray[Any, Any]] = []
    made = {"river": RIVER, "state": _plain(type(state), state, arrays)}
    tree = json.dumps(made, separators=(",", ":")).encode()
    body = b"".join([len(tree).to_bytes(8, "little"), tree, *(array.tobytes() for array in arrays)])
    packed = zstandard.ZstdCompressor(level=3).compress(body)
    return MAGIC + _mac(packed, secret) + packed


def load(kind: type[T], data: bytes, secret: bytes) -> T:
    """Raises SnapshotUnreadable where the bytes are not a whole snapshot of this format made with this secret."""
    header, mac, packed = data[:8], data[8 : 8 + MAC_SIZE], data[8 + MAC_SIZE :]
    if header != MAGIC:
        raise SnapshotUnreadable(f"format {header!r} is not {MAGIC!r}; fold the ledger instead")
    if not hmac.compare_digest(mac, _mac(packed, secret)):
        raise SnapshotUnreadable("the MAC does not verify: other secret, or altered bytes; fold the ledger instead")
    try:
        body = zstandard.ZstdDecompressor().decompress(packed, max_output_size=LARGEST_STATE)
        size = int.from_bytes(body[:8], "little")
        made = json.loads(body[8 : 8 + size])
        if made.get("river") != RIVER:
            raise SnapshotUnreadable(f"made with river {made.get('river')}, this is {RIVER}; fold the ledger instead")
        return _restore(kind, made["state"], _Arrays(memoryview(body)[8 + size :]))  # type: ignore[no-any-return]
    except _OF_ANOTHER_FORM as error:
        raise SnapshotUnreadable(f"the state is not of this version: {error!r}; fold the ledger instead") from error


def _mac(packed: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, MAGIC + packed, hashlib.sha256).digest()


def _plain(hint: Any, value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """The tree of a value; the type tells only which of several dataclasses stands in a union."""
    if type(value) in AS_THEY_ARE:
        return value
    if isinstance(value, (str, int, float)):
        return value.value if isinstance(value, Enum) else value
    if hasattr(value, "to_plain"):
        return _plain(type(value).PLAIN, value.to_plain(), arrays)
    if isinstance(value, np.ndarray):
        return {"array": _stored(value, arrays), "shape": list(value.shape)}
    if (members := _members(hint)) and len(members) > 1:
        return [type(value).__name__, _plain(type(value), value, arrays)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {f.name: _plain(hints[f.name], getattr(value, f.name), arrays) for f in _kept(type(value))}
    args = get_args(members[0] if members else hint) or (Any, Any)
    if isinstance(value, dict):
        return [[_plain(args[0], key, arrays), _plain(args[1], item, arrays)] for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [_plain(args[0], item, arrays) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be kept in a snapshot; give it to_plain and from_plain")


@cache
def _kept(kind: type[Any]) -> list[dataclasses.Field[Any]]:
    """Fields of a state but for those marked transient, which a restored state begins without."""
    return [field for field in dataclasses.fields(kind) if not field.metadata.get("transient")]


@cache
def _members(hint: Any) -> list[Any]:
    """The alternatives of a union, without None."""
    if get_origin(hint) not in (Union, types.UnionType):
        return []
    return [member for member in get_args(hint) if member is not type(None)]


def _stored(array: np.ndarray[Any, Any], arrays: list[np.ndarray[Any, Any]]) -> str:
    """Keeps the array and names its type; booleans are packed to bits."""
    if array.dtype == np.bool_:
        arrays.append(np.packbits(array))
        return "bits"
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    arrays.append(np.ascontiguousarray(little))
    return little.dtype.str


class _Arrays:
    """Reads the arrays back in the order in which they were kept."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, kind: str, shape: list[int]) -> np.ndarray[Any, Any]:
        count = int(np.prod(shape, dtype=np.int64))
        dtype = np.dtype(np.uint8) if kind == "bits" else np.dtype(kind)
        stored = (count + 7) // 8 if kind == "bits" else count
        array = np.frombuffer(self.data, dtype, stored, self.at)
        self.at += array.nbytes
        if kind == "bits":
            array = np.unpackbits(array, count=count).astype(np.bool_)
        return array.reshape(shape).astype(array.dtype.newbyteorder("="), copy=True)


def _fields(kind: type, tree: dict[str, Any], arrays: _Arrays) -> dict[str, Any]:
    """In the writer's order, which is that of the arrays."""
    kept, hints = {field.name: field for field in _kept(kind)}, _hints(kind)
    if unknown := [name for name in tree if name not in kept]:
        names = ", ".join(unknown)
        raise SnapshotUnreadable(f"{kind.__name__} has {names}: a newer version has made it; fold the ledger instead")
    if missing := [name for name in kept if name not in tree and "since" not in kept[name].metadata]:
        lacks = f"{kind.__name__} lacks {', '.join(missing)}"
        raise SnapshotUnreadable(f"{lacks}: an older version has made it; fold the ledger instead")
    return {name: _restore(hints[name], item, arrays) for name, item in tree.items()}


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _restore(hint: Any, tree: Any, arrays: _Arrays) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is np.ndarray or hint is np.ndarray:
        return arrays.take(tree["array"], tree["shape"])
    if hasattr(hint, "from_plain"):
        return hint.from_plain(_restore(hint.PLAIN, tree, arrays))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint(**_fields(hint, tree, arrays))
    if origin is dict:
        return {_restore(args[0], key, arrays): _restore(args[1], item, arrays) for key, item in tree}
    if origin is list:
        return [_restore(args[0], item, arrays) for item in tree]
    if origin is tuple:
        kinds = [args[0]] * len(tree) if args[-1] is Ellipsis else args
        return tuple(_restore(kind, item, arrays) for kind, item in zip(kinds, tree, strict=True))
    if members := _members(hint):
        if tree is None:
            return None
        if len(members) == 1:
            return _restore(members[0], tree, arrays)
        named = {member.__name__: member for member in members}
        return _restore(named[tree[0]], tree[1], arrays)
    return hint(tree) if isinstance(hint, type) and issubclass(hint, Enum) else tree

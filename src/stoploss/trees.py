"""Dataclasses as JSON trees with their arrays beside them, and back: what a snapshot is made of.

Each field is a plain value, a NumPy array, or another of these. A class that knows better gives `PLAIN`, `to_plain` and
`from_plain` (river's detectors do). What a type asks for is found out once and kept as a function: a partition's state
has thousands of values for each experiment, and is written while its judge waits.

A field that a version adds may be marked `metadata={"since": VERSION}`: states of the version before, which lack it,
are then read with its default. A state with a field that this version does not know is a newer version's, and refused.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache, partial
from typing import Any, Protocol, Union, get_args, get_origin, get_type_hints

import numpy as np

from stoploss.errors import SnapshotUnreadable

Array = np.ndarray[Any, Any]
SPARSE_FROM, SPARSE_SHARE = 4_096, 8
"""So many elements, of which at most an eighth is not zero, are told by their places."""
_KINDS = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8")
DTYPES = {kind: np.dtype(kind) for kind in _KINDS}
AS_THEY_ARE: frozenset[type] = frozenset({str, int, float, bool, types.NoneType})


class Buffers(Protocol):
    """Where the arrays stand one after the other: zstandard's stream reader, or io.BytesIO."""

    def readinto(self, buffer: memoryview, /) -> int: ...


Write = Callable[[Any, list[Array]], Any]
Read = Callable[[Any, Buffers], Any]


def written(state: Any, arrays: list[Array]) -> Any:
    """The tree of a dataclass; its arrays are appended, little-endian, in the order in which the tree has them.

    Raises TypeError for a value that has no plain form.
    """
    kind: Any = type(state)
    return _writer(kind)(state, arrays)


def read(kind: type, tree: Any, arrays: Buffers) -> Any:
    """The dataclass of a tree. Raises SnapshotUnreadable where its fields are another version's; ValueError, KeyError,
    TypeError, IndexError or AttributeError where it is no tree of this type."""
    return _reader(kind)(tree, arrays)


# ---- both ways -------------------------------------------------------------------------------------


@cache
def _kept(kind: type) -> list[dataclasses.Field[Any]]:
    """Fields of a state but for those marked transient, which a restored state begins without."""
    return [field for field in dataclasses.fields(kind) if not field.metadata.get("transient")]


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _members(hint: Any) -> list[Any]:
    """The alternatives of a union, without None."""
    if get_origin(hint) not in (Union, types.UnionType):
        return []
    return [member for member in get_args(hint) if member is not types.NoneType]


def _as_it_is(value: Any, _: object) -> Any:
    return value


# ---- to a tree -------------------------------------------------------------------------------------


class _Writer:
    """Writes the values of one type hint, which tells only what stands in a union and in a container."""

    def __init__(self, hint: Any) -> None:
        self._hint = hint
        self._by_kind: dict[type, Write] = dict.fromkeys(AS_THEY_ARE, _as_it_is)

    def __call__(self, value: Any, arrays: list[Array]) -> Any:
        kind = type(value)
        if kind not in self._by_kind:
            self._by_kind[kind] = _write_of(self._hint, kind)
        return self._by_kind[kind](value, arrays)


_writer = cache(_Writer)


def _write_of(hint: Any, kind: Any) -> Write:
    if issubclass(kind, (str, int, float)):
        return (lambda value, _: value.value) if issubclass(kind, Enum) else _as_it_is
    if hasattr(kind, "to_plain"):
        return partial(_write_plain, _writer(kind.PLAIN))
    if issubclass(kind, np.ndarray):
        return _write_array
    members = _members(hint)
    if len(members) > 1:
        return partial(_write_named, kind.__name__, _writer(kind))
    if dataclasses.is_dataclass(kind):
        return partial(_write_fields, _writers_of(kind))
    args = get_args(members[0] if members else hint) or (Any, Any)
    if issubclass(kind, dict):
        return partial(_write_dict, _writer(args[0]), _writer(args[1]))
    if issubclass(kind, (list, tuple)):
        return partial(_write_items, _writer(args[0]))
    raise TypeError(f"{kind.__name__} cannot be kept in a snapshot; give it to_plain and from_plain")


def _writers_of(kind: Any) -> dict[str, Write]:
    return {field.name: _writer(_hints(kind)[field.name]) for field in _kept(kind)}


def _write_plain(write: Write, value: Any, arrays: list[Array]) -> Any:
    return write(value.to_plain(), arrays)


def _write_named(name: str, write: Write, value: Any, arrays: list[Array]) -> Any:
    return [name, write(value, arrays)]


def _write_fields(fields: Mapping[str, Write], value: Any, arrays: list[Array]) -> Any:
    return {
        name: item if type(item := getattr(value, name)) in AS_THEY_ARE else write(item, arrays)
        for name, write in fields.items()
    }


def _write_dict(key_of: Write, item_of: Write, value: Mapping[Any, Any], arrays: list[Array]) -> Any:
    return [[key_of(key, arrays), item_of(item, arrays)] for key, item in value.items()]


def _write_items(item_of: Write, value: list[Any] | tuple[Any, ...], arrays: list[Array]) -> Any:
    return [item if type(item) in AS_THEY_ARE else item_of(item, arrays) for item in value]


def _write_array(array: Array, arrays: list[Array]) -> Any:
    """Keeps the array and names its type: of a large one that is zeros for the most part what is none, and where it
    stands. Booleans are packed to bits."""
    kind = array.dtype.newbyteorder("<").str
    if kind not in DTYPES:
        raise TypeError(f"an array of {array.dtype} cannot be kept in a snapshot; these can: {', '.join(DTYPES)}")
    told = {"array": kind, "shape": list(array.shape)}
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size >= SPARSE_FROM:
        at = np.flatnonzero(flat.view(f"u{flat.itemsize}"))  # of the bits: -0.0 is no zero
        if at.size * SPARSE_SHARE <= flat.size:
            arrays += [at.astype("<i8"), flat[at].astype(kind)]
            return {**told, "held": at.size}
    if flat.dtype == np.bool_:
        arrays.append(np.packbits(flat))
        return {**told, "array": "bits"}
    arrays.append(flat.astype(kind, copy=False))
    return told


# ---- from a tree -----------------------------------------------------------------------------------


@cache
def _reader(hint: Any) -> Read:
    origin, args = get_origin(hint), get_args(hint)
    if np.ndarray in (origin, hint):
        return _read_array
    if hasattr(hint, "from_plain"):
        return partial(_read_plain, hint.from_plain, _reader(hint.PLAIN))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return partial(_read_fields, hint)
    if origin is dict:
        return partial(_read_dict, _reader(args[0]), _reader(args[1]))
    if origin is list:
        return partial(_read_list, _reader(args[0]))
    if origin is tuple:
        alike = args[-1] is Ellipsis
        return partial(_read_tuple, _reader(args[0])) if alike else partial(_read_each, [*map(_reader, args)])
    if members := _members(hint):
        return partial(_read_some, {_name(member): _reader(member) for member in members})
    return (lambda tree, _: hint(tree)) if isinstance(hint, type) and issubclass(hint, Enum) else _as_it_is


def _name(member: Any) -> str:
    return str(getattr(member, "__name__", member))


def _read_plain(from_plain: Callable[[Any], Any], plain: Read, tree: Any, arrays: Buffers) -> Any:
    return from_plain(plain(tree, arrays))


@cache
def _fields_of(kind: type) -> tuple[dict[str, Read], frozenset[str]]:
    """How each field is read, and which ones a tree must have."""
    kept, hints = _kept(kind), _hints(kind)
    needed = frozenset(field.name for field in kept if "since" not in field.metadata)
    return {field.name: _reader(hints[field.name]) for field in kept}, needed


def _read_fields(kind: type, tree: dict[str, Any], arrays: Buffers) -> Any:
    """In the writer's order, which is that of the arrays."""
    known, needed = _fields_of(kind)
    if unknown := [name for name in tree if name not in known]:
        names = ", ".join(unknown)
        raise SnapshotUnreadable(f"{kind.__name__} has {names}: a newer version has made it; fold the ledger instead")
    if missing := [name for name in known if name in needed and name not in tree]:
        lacks = f"{kind.__name__} lacks {', '.join(missing)}"
        raise SnapshotUnreadable(f"{lacks}: an older version has made it; fold the ledger instead")
    return kind(**{name: known[name](item, arrays) for name, item in tree.items()})


def _read_dict(key_of: Read, item_of: Read, tree: Any, arrays: Buffers) -> Any:
    return {key_of(key, arrays): item_of(item, arrays) for key, item in tree}


def _read_list(item_of: Read, tree: Any, arrays: Buffers) -> Any:
    return list(tree) if item_of is _as_it_is else [item_of(item, arrays) for item in tree]


def _read_tuple(item_of: Read, tree: Any, arrays: Buffers) -> Any:
    return tuple(_read_list(item_of, tree, arrays))


def _read_each(of_each: list[Read], tree: Any, arrays: Buffers) -> Any:
    return tuple(item_of(item, arrays) for item_of, item in zip(of_each, tree, strict=True))


def _read_some(named: Mapping[str, Read], tree: Any, arrays: Buffers) -> Any:
    """One of several kinds stands with its name before it."""
    if tree is None:
        return None
    if len(named) == 1:
        [only] = named.values()
        return only(tree, arrays)
    return named[tree[0]](tree[1], arrays)


def _read_array(tree: Any, arrays: Buffers) -> Array:
    kind, shape = tree["array"], tree["shape"]
    count = math.prod(shape)
    if "held" in tree:
        return _read_sparse(DTYPES[kind], count, tree["held"], arrays).reshape(shape)
    if kind == "bits":
        bits = _filled(np.empty((count + 7) // 8, np.uint8), arrays)
        return np.unpackbits(bits, count=count).view(np.bool_).reshape(shape)
    return _native(_filled(np.empty(count, DTYPES[kind]), arrays)).reshape(shape)


def _read_sparse(dtype: np.dtype[Any], count: int, held: int, arrays: Buffers) -> Array:
    """Its zeros take no memory until something is written there."""
    at = _filled(np.empty(held, "<i8"), arrays)
    found: Array = np.zeros(count, dtype.newbyteorder("="))
    found[at] = _filled(np.empty(held, dtype), arrays)
    return found


def _native(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _filled(array: Array, arrays: Buffers) -> Array:
    if array.nbytes and arrays.readinto(array.view(np.uint8).data) != array.nbytes:
        raise ValueError(f"the arrays end within one of {array.nbytes} bytes")
    return array

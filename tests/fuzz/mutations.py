"""What goes wrong with bytes, and what a hostile sender does to them on purpose; seeded, one mutation a call."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from stoploss.wire.block import zigzag
from tests.fuzz import corpus
from tests.fuzz.corpus import Record
from tests.intake.records import AT, NAME, assigned

LENGTHS = (-(2**63), -(2**31), -3, -2, -1, 63, 64, 127, 2**31 - 1, 2**31, 2**33, 2**40, 2**62, 2**63 - 1)
DOUBLES = (float("nan"), float("inf"), -float("inf"), -0.0, -1.0, 5e-324, 1e308, 2.0**40, -1e308)
LONGS = (-(2**63), -(2**31) - 1, -1, 0, 1, 2**31, 2**40 - 1, 2**40, 2**53, 2**63 - 1)
TIMES = (0, 1, -1, AT // 1_000_000, AT // 1_000, AT * 1_000, AT + 10**12, AT + 60_000_001, -(2**63), 2**63 - 1)
STRINGS = (
    *("", "\x00", "\u202etxet", "'; DROP TABLE traces; --", "\u0301" * 40, "a\r\nb", "\ufeff", "[masked:card]"),
    *("x" * 64, "x" * 65, "ж" * 33, "x" * 5_000, "𒀀" * 500, "$(reboot)", "../../etc/passwd", "{{7*7}}"),
)
NOT_UTF8 = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82", b"\x80", b"\xf4\x90\x80\x80")
BYTES = tuple(bytes([byte]) for byte in (0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF))
Change = Callable[[Random, bytes], bytes]


# ---- bytes -----------------------------------------------------------------------------------------


def flip_bits(rng: Random, value: bytes) -> bytes:
    changed = bytearray(value)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: Random, value: bytes) -> bytes:
    return value[: rng.randrange(len(value))]


def extend(rng: Random, value: bytes) -> bytes:
    return value + rng.choice((b"\x00", b"}", b"x" * 100, rng.randbytes(8), value))


def cut_out(rng: Random, value: bytes) -> bytes:
    start = rng.randrange(len(value))
    return value[:start] + value[start + rng.randint(1, 8) :]


def put_in(rng: Random, value: bytes) -> bytes:
    return _spliced(rng, value, rng.choice((*NOT_UTF8, *BYTES, rng.randbytes(rng.randint(1, 16)))), over=0)


def overwrite(rng: Random, value: bytes) -> bytes:
    piece = rng.choice((*NOT_UTF8, *BYTES, *(struct.pack("<d", number) for number in DOUBLES)))
    return _spliced(rng, value, piece, over=len(piece))


def inflate(rng: Random, value: bytes) -> bytes:
    """A length, count, index or number of Avro takes an extreme value."""
    return _spliced(rng, value, rng.choice((zigzag(rng.choice(LENGTHS)), b"\xff" * 9 + b"\x7f", b"\x80" * 12)), over=1)


def repeat(rng: Random, value: bytes) -> bytes:
    start = rng.randrange(len(value))
    piece = value[start : start + rng.randint(1, 40)]
    return _spliced(rng, value, piece * rng.choice((1, 3, 40)), over=0)


def _spliced(rng: Random, value: bytes, piece: bytes, over: int) -> bytes:
    start = rng.randrange(len(value))
    return value[:start] + piece + value[start + over :]


BYTE_CHANGES: tuple[Change, ...] = (flip_bits, truncate, extend, cut_out, put_in, overwrite, inflate, repeat)


def damaged(rng: Random, value: bytes, keep: int = 0) -> bytes:
    """One or two changes behind the first `keep` bytes."""
    head, body = value[:keep], value[keep:]
    for _ in range(rng.choice((1, 1, 1, 2))):
        body = rng.choice(BYTE_CHANGES)(rng, body) if body else body
    return head + body


# ---- framing ---------------------------------------------------------------------------------------


def other_framing(rng: Random, value: bytes) -> bytes:
    """The same content behind another's mark, a hostile one, or none."""
    hostile_id = rng.choice((0, 4, 2**31, 2**32 - 1)).to_bytes(4, "big")
    starts = (b"\xc3\x01" + rng.randbytes(8), b"\x00" + hostile_id, b"{", b"", b"\x01", b"\xc3", rng.randbytes(3))
    return rng.choice(starts) + value[rng.choice((0, 5, 10)) :]


# ---- values ----------------------------------------------------------------------------------------


def hostile_record(rng: Random, kind: str, content: Record) -> Record:
    """A record that its schema allows and that nobody should believe, or that is at the edge of what one should."""
    return rng.choice((_number, _time, _text, _assigned, _long_list, _score))(rng, kind, dict(content))


def _number(rng: Random, kind: str, content: Record) -> Record:
    if kind == "outcome":
        return {**content, "value": rng.choice(DOUBLES)}
    if rng.random() < 0.5:
        return {**content, rng.choice(("latency_ms", "time_to_first_token_ms", "cost_usd")): rng.choice(DOUBLES)}
    return {**content, rng.choice(("input_tokens", "output_tokens", "reasoning_tokens")): rng.choice(LONGS)}


def _time(rng: Random, kind: str, content: Record) -> Record:
    return {**content, "at": rng.choice(TIMES)}


def _text(rng: Random, kind: str, content: Record) -> Record:
    names = [name for name, held in content.items() if isinstance(held, str) and name not in ("role", "kind")]
    return {**content, rng.choice([*names, "unit_id", "tenant"]): rng.choice(STRINGS)}


def _assigned(rng: Random, kind: str, content: Record) -> Record:
    hostile = assigned(rng.choice(STRINGS), rng.choice((NAME, *STRINGS)))
    twice = [assigned("current"), assigned("small")]
    many = [assigned("current", f"e-{number}") for number in range(80)]
    return {**content, "assignments": rng.choice(([], [hostile], twice, many, [*content["assignments"], hostile]))}


def _long_list(rng: Random, kind: str, content: Record) -> Record:
    most = 2_000 if rng.random() < 0.03 else 100
    listed = [{"key": f"k{number % 7}", "value": "v"} for number in range(rng.choice((1, most)))]
    steps = [{"kind": "tool", "name": f"t{number % 3}"} for number in range(rng.choice((1, most)))]
    return {**content, "attributes": listed, **({"steps": steps} if kind == "trace" else {})}


def _score(rng: Random, kind: str, content: Record) -> Record:
    if kind == "outcome":
        return {**content, "name": rng.choice(STRINGS), "value": rng.choice(DOUBLES)}
    scores = [{"name": rng.choice(("helpfulness", *STRINGS)), "value": rng.choice((0.5, *DOUBLES))} for _ in range(2)]
    return {**content, "scores": scores}


# ---- JSON ------------------------------------------------------------------------------------------


def _nested(depth: int) -> Any:
    """Brackets by hand: the encoder would not go as deep."""
    return Raw("[" * depth + "]" * depth)


class Raw(str):
    """Text that stands in the JSON as it is."""

    __slots__ = ()


JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, "", "x", [], {}, [[]], [None], {"": 0}, {"key": "value"}, "2026-01-31T12:00:00Z"),
    *(Raw("NaN"), Raw("-Infinity"), Raw("1e999"), Raw("1E400000"), Raw("-0"), Raw("9" * 400), Raw("9" * 5_000)),
    *(2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, Raw('"\\ud800"'), Raw('"\\u0000"'), Raw('"\\x"'), Raw("'x'")),
    *(Raw("undefined"), Raw("[1,]"), Raw("0x10"), Raw("1_0"), Raw("/**/1"), "9999-12-31T23:59:59.999999-23:59"),
    *("0001-01-01T00:00:00+23:59", "2026-01-31T25:00:00Z", "x" * 3_000, _nested(40), _nested(900), _nested(950)),
    *(_nested(980), _nested(4_000), {"name": "x", "value": {"a": "b"}}, ["x"] * 100),
)


def hostile_json(rng: Random, content: Record) -> bytes:
    """An object in which one value, key or both are not what they should be."""
    whole = json.loads(json.dumps(content))
    holder, key = rng.choice(_places(whole))
    match rng.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(("extra", "\x00", "at ", "trace_id\u0000", "x" * 2_000))] = rng.choice(JSON_VALUES)
        case _:
            holder[key] = rng.choice(JSON_VALUES)
    text = _dumped(whole)
    if rng.random() < 0.1:  # a key twice: the last one counts
        text = text[:-1] + f', "{rng.choice(("trace_id", "at"))}": {_dumped(rng.choice(JSON_VALUES))}}}'
    return text.encode("utf-8", "surrogatepass")


def _places(node: Any) -> list[tuple[Any, Any]]:
    found = []
    for key, held in node.items() if isinstance(node, dict) else enumerate(node):
        found.append((node, key))
        if isinstance(held, (dict, list)):
            found += _places(held)
    return found


def _dumped(node: Any) -> str:
    if isinstance(node, Raw):
        return str(node)
    if isinstance(node, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_dumped(held)}" for key, held in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(_dumped, node)) + "]"
    return json.dumps(node)


# ---- one of everything -----------------------------------------------------------------------------


def mutated(rng: Random, kind: str, trace_id: str) -> bytes | None:
    """A record that something happened to."""
    content = corpus.record(rng, kind, trace_id)
    chosen = rng.random()
    if chosen < 0.45:
        value = corpus.framed(rng, kind, content)
        keep = 0 if value[:1] == b"{" else 10 if value[:1] == b"\xc3" else 5
        return damaged(rng, value, keep if rng.random() < 0.8 else 0)
    if chosen < 0.70:
        return hostile_json(rng, content)
    if chosen < 0.90:
        return corpus.framed(rng, kind, hostile_record(rng, kind, content))
    if chosen < 0.97:
        return other_framing(rng, corpus.framed(rng, kind, content))
    return rng.choice((None, b"", b"{", b"{}", b"[]", b"null", rng.randbytes(rng.randint(1, 64)), b"\xc3\x01", b"\x00"))

"""Specs, snapshots and requests that the fuzzer found, or that are of the kind that it looks for."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
import zstandard

from stoploss import snapshot
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.errors import InvalidExperiment, SnapshotUnreadable
from stoploss.intake import paths, segments
from stoploss.spec.file import parse_experiment
from stoploss.state import PartitionState
from tests.timelines import SECRET, SPEC

# ---- specs -----------------------------------------------------------------------------------------

VALUES = {
    "a tag that its value is not of: bool": "!!bool x",
    "a tag that its value is not of: int": "!!int ''",
    "a tag that its value is not of: float": "!!float ''",
    "a tag that its value is not of: timestamp": "!!timestamp x",
    "a tag of Python's": "!!python/object:os.system x",
    "a number of 4,000 digits": "0x" + "f" * 4_000,
    "a number in base 60, of any length": "1" + ":59" * 10_000,
    "half of a surrogate pair": '"\\uD800"',
    "no number": ".nan",
    "infinity": ".inf",
}


@pytest.mark.parametrize("name", VALUES)
def test_a_hostile_value_in_a_spec_is_refused_with_its_line(name: str) -> None:
    text = SPEC.replace("stages: [0.5]", f"minUnits: {VALUES[name]}")
    assert text != SPEC
    with pytest.raises(InvalidExperiment) as refused:
        parse_experiment(text)
    assert str(refused.value).encode()


def test_half_of_a_surrogate_pair_is_refused_where_any_text_would_do() -> None:
    """It went through, and ended the registrar where the spec was hashed."""
    with pytest.raises(InvalidExperiment, match="line 4, YAML: holds half of a surrogate pair"):
        parse_experiment(SPEC.replace("owner: search-team", 'owner: "\\uD800"'))


# ---- snapshots -------------------------------------------------------------------------------------


def signed(packed: bytes) -> bytes:
    return snapshot.MAGIC + snapshot._mac(packed, SECRET) + packed


def packed(tree: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(len(tree).to_bytes(8, "little") + tree)


UNDER_THE_RIGHT_MAC = {
    "no zstd": b"not packed",
    "nothing in it": zstandard.ZstdCompressor().compress(b""),
    "no JSON": packed(b"{"),
    "no object": packed(b"[]"),
    "no state": packed(json.dumps({"river": snapshot.RIVER}).encode()),
    "another state": packed(json.dumps({"river": snapshot.RIVER, "state": {"partition": 1}}).encode()),
    "deep": packed(b"[" * 100_000),
}


@pytest.mark.parametrize("name", UNDER_THE_RIGHT_MAC)
def test_a_snapshot_that_is_none_is_unreadable_whoever_signed_it(name: str) -> None:
    with pytest.raises(SnapshotUnreadable, match="fold the ledger instead"):
        snapshot.load(PartitionState, signed(UNDER_THE_RIGHT_MAC[name]), SECRET)


# ---- what is remembered of names -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shorten", "remembering"), [(segments.clean, segments._clean), (paths.bounded, paths._bounded)]
)
def test_names_of_a_megabyte_are_not_remembered(shorten: Callable[[str], str], remembering: object) -> None:
    """Eight thousand of them were."""
    remembering.cache_clear()  # type: ignore[attr-defined]
    short = {shorten(f"{number}" + "x" * 1_000_000) for number in range(3)}
    assert all(len(text) <= 64 for text in short)
    assert remembering.cache_info().currsize == 0  # type: ignore[attr-defined]


# ---- the embedded ClickHouse -----------------------------------------------------------------------

REQUESTS: dict[str, tuple[str, bytes, dict[str, str], int]] = {
    "a statement that is no text": ("/", b"SELECT '\xff'", {}, 400),
    "an insert that is no text": ("/", b"INSERT INTO t\xff FORMAT CSV\n1", {}, 400),
    "a format that would be a header": (
        f"/?default_format={quote('a' + chr(13) + chr(10) + 'b')}",
        b"SELECT 1",
        {},
        404,
    ),
    "an id that would be a header": (f"/?query_id={quote('a' + chr(13) + chr(10) + 'b')}", b"SELECT 1", {}, 200),
    "a form without a boundary": ("/", b"x", {"Content-Type": "multipart/form-data"}, 400),
    "a form that is none": ("/", b"x", {"Content-Type": "multipart/form-data; boundary=y"}, 400),
    "an expectation that is no text": ("/", b"SELECT 1", {"Expect": "\x80"}, 417),
    "a setting that is none": ("/?x%20y=1", b"SELECT 1", {}, 404),
    "a compression that it is not": ("/", b"SELECT 1", {"Content-Encoding": "zstd"}, 400),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request_gets_its_own_status_and_the_next_one_its_answer(
    name: str, clickhouse: EmbeddedClickHouse
) -> None:
    path, body, headers, status = REQUESTS[name]
    assert asked(clickhouse, path, body, headers) == status
    assert asked(clickhouse, "/", b"SELECT 1", {}) == 200


def asked(clickhouse: EmbeddedClickHouse, path: str, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", clickhouse.port, timeout=60)
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()

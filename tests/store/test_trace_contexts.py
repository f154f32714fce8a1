"""The contexts of stored traces, on the real ClickHouse."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from stoploss.store import inserts
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.stored import Stored
from stoploss.store.trace_contexts import MOST_IDS, contexts_of
from tests.intake.records import AT, assigned, take_in, trace

ODD = ("it's", 'a "b"', "back\\slash", "tab\there", "line\nbreak", "x\x00y", "日本", "%(x)s", "{a:String}", "'],['")
DAY_MICROS = 86_400_000_000


@pytest.fixture(scope="module")
def client(database: Callable[[str], Client]) -> Client:
    return database("trace_contexts")


def store(client: Client, *traces: dict[str, Any]) -> None:
    """As one record of the recorder, whose place nobody else has."""
    value = clean_to_bytes(take_in(*traces).clean, "traces")
    partition = int.from_bytes(hashlib.sha256(value).digest()[:3], "big")
    record = Stored("s.traces_clean", "uuid", partition, 0, AT // 1_000, None, value, ())
    inserts.insert(client, inserts.encode("traces_clean", [record]))


def test_a_trace_is_found_with_its_unit_segments_and_assignments(client: Client) -> None:
    assignments = [assigned("small", run=2, epoch=3, consent=True)]
    stored = trace(trace_id="whole", tenant="acme", attributes=[{"key": "a", "value": "b"}], assignments=assignments)
    store(client, stored)
    found = contexts_of(client, ["whole", "nobody"])
    assert list(found) == ["whole"]
    context = found["whole"]
    assert (context.unit_id, context.tenant, context.language) == ("user-1", "acme", None)
    assert [dict(item) for item in context.assignments] == assignments
    assert [dict(item) for item in context.attributes] == [{"key": "a", "value": "b"}]


@pytest.mark.parametrize("trace_id", ODD)
def test_an_id_is_a_value_and_never_a_part_of_the_statement(client: Client, trace_id: str) -> None:
    store(client, trace(trace_id=trace_id))
    assert list(contexts_of(client, [trace_id])) == [trace_id]


def test_more_ids_than_fit_into_one_statement_are_all_asked_for(client: Client) -> None:
    ids = [f"{number:064d}" for number in range(2 * MOST_IDS + 1)]
    store(client, *(trace(trace_id=trace_id) for trace_id in ids))
    assert set(contexts_of(client, ids)) == set(ids)


def test_of_several_under_one_id_the_one_that_was_judged_stands(client: Client) -> None:
    store(client, trace(trace_id="twice", unit_id="untimely", at=AT - 30 * DAY_MICROS))
    store(client, trace(trace_id="twice", unit_id="judged"))
    assert contexts_of(client, ["twice"])["twice"].unit_id == "judged"


def test_nothing_is_asked_for_no_ids(client: Client) -> None:
    assert contexts_of(client, []) == {}

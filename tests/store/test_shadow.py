"""R1: shadow runs have a table of their own, are compared in pairs, and never pooled with what users were served."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from stoploss.store import inserts, schema
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.shadow import ShadowMetric, ShadowRuns, report
from stoploss.store.stored import Stored
from stoploss.store.trace_contexts import contexts_of
from tests.intake.records import AT, NAME, take_in, trace

MINUTE_US = 60_000_000


@pytest.fixture(scope="module")
def client(database: Callable[[str], Client]) -> Client:
    client = database("shadow")
    live = [
        trace(trace_id="one", latency_ms=100.0, output_tokens=10, cost_usd=0.01),
        trace(trace_id="two", latency_ms=200.0, output_tokens=None, error_type="timeout"),
        trace(trace_id="old", latency_ms=1.0, at=AT),
    ]
    copies = [
        shadow("one", latency_ms=130.0, output_tokens=14, cost_usd=0.02),
        shadow("two", latency_ms=210.0, output_tokens=99),
        shadow("old", latency_ms=9_999.0, at=AT - 6 * MINUTE_US),
        shadow("nobody", latency_ms=9_999.0),
        shadow(None, latency_ms=9_999.0),
    ]
    for traces in (live, copies):
        store(client, *traces)
    store(client, *copies)  # a recorder that was killed says it again
    return client


def shadow(of: str | None, **fields: Any) -> dict[str, Any]:
    attributes = [{"key": "shadow_of", "value": of}] if of else []
    return trace(trace_id=f"shadow of {of}", role="shadow", attributes=attributes, **fields)


def store(client: Client, *traces: dict[str, Any]) -> None:
    value = clean_to_bytes(take_in(*traces).clean, "traces")
    partition = int.from_bytes(hashlib.sha256(value).digest()[:3], "big")
    record = Stored("s.traces_clean", "uuid", partition, 0, AT // 1_000, None, value, ())
    inserts.insert(client, inserts.encode("traces_clean", [record]))


def test_live_traces_and_shadow_runs_stand_in_tables_of_their_own(client: Client) -> None:
    """R1"""
    roles = {
        view: client.query(f"SELECT DISTINCT role FROM {view}").result_rows for view in ("traces_v", "shadow_traces_v")
    }
    assert roles == {"traces_v": [("live",)], "shadow_traces_v": [("shadow",)]}
    assert client.query("SELECT count() FROM traces_v").result_rows == [(3,)]


def test_the_two_tables_have_the_same_columns_in_the_same_order() -> None:
    """What tripped a gate is looked for in both at once, and UNION ALL goes by place."""
    assert schema.tables()["shadow_traces"].equals(schema.tables()["traces"])


def test_stale_pairs_and_runs_without_a_live_request_are_counted_and_left_out(client: Client) -> None:
    """R1"""
    found = report(client, NAME, max_age_s=300)
    assert found.runs == ShadowRuns(runs=5, pairs=2, stale=1, unpaired=2)
    assert report(client, NAME, max_age_s=600).runs == ShadowRuns(runs=5, pairs=3, stale=0, unpaired=2)
    assert report(client, "another", max_age_s=300).runs == ShadowRuns(0, 0, 0, 0)


def test_a_metric_is_compared_where_both_sides_have_it(client: Client) -> None:
    """R1"""
    found = {one.metric: one for one in report(client, NAME, max_age_s=300, minimum_cell=1).metrics}
    latency, tokens, errors = found["latency_ms"], found["output_tokens"], found["error_rate"]
    assert (latency.pairs, latency.live, latency.shadow, latency.difference) == (2, 150.0, 170.0, 20.0)
    assert (tokens.pairs, tokens.live, tokens.shadow) == (1, 10.0, 14.0)
    assert (errors.pairs, errors.live, errors.shadow) == (2, 0.5, 0.0)


def test_means_of_fewer_pairs_than_the_minimum_cell_are_hidden(client: Client) -> None:
    """P2: the mean of one pair is what one person's request was."""
    found = {one.metric: one for one in report(client, NAME, max_age_s=300, minimum_cell=2).metrics}
    assert (found["latency_ms"].hidden, found["latency_ms"].live) == (False, 150.0)
    assert found["output_tokens"] == ShadowMetric("output_tokens", 1, None, None, None, hidden=True)
    assert {one.hidden for one in report(client, NAME, max_age_s=300).metrics} == {True}


def test_an_outcome_about_a_shadow_run_is_told_that_it_is(client: Client) -> None:
    """R1: a shadow run has the variant of a live one, so what is said of it must not become the variant's score."""
    found = contexts_of(client, ["one", "shadow of one", "shadow of None"])
    names = {trace_id: [dict(item) for item in context.attributes] for trace_id, context in found.items()}
    assert names == {
        "one": [],
        "shadow of one": [{"key": "shadow_of", "value": "one"}],
        "shadow of None": [{"key": "shadow_of", "value": ""}],
    }

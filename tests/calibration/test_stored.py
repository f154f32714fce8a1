"""Control's requests read back from ClickHouse are those that services sent."""

from __future__ import annotations

import json

import pytest
from clickhouse_connect.driver.client import Client

from stoploss.calibration import stored
from stoploss.calibration.recording import of_traces
from stoploss.calibration.requests import SOURCE
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.intake.results import RawRecord
from stoploss.intake.watched import Watched
from stoploss.spec.file import parse_experiment
from stoploss.store import inserts
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from tests.intake.alone import process_traces
from tests.store import samples
from tests.timelines import spec

EXPERIMENT = parse_experiment(spec("segments: [tenant]\ngates: [undeclared_tool]"))


def sent(row: int) -> bytes:
    variant = "small" if row % 5 == 0 else "current"
    trace = {
        "trace_id": f"t{row}",
        "at": samples.at(row),
        "unit_id": f"u{row // 3}",
        "tenant": "acme",
        "latency_ms": 500.5 + row,
        "output_tokens": 100 + row,
        "error_type": "timeout" if row % 7 == 0 else None,
        "output_text": "card 4111 1111 1111 1111" if row == 8 else None,
        "assignments": [{"experiment": "checkout", "variant": variant, "run": 1, "epoch": 1}],
        "steps": [{"kind": "tool", "name": "search", "outcome": "ok", "scope": "catalog.read"}],
        "scores": [{"name": "resolved", "value": 0.5}],
        "attributes": {"plan": "pro"},
    }
    return json.dumps(trace).encode()


@pytest.fixture
def database(clickhouse: EmbeddedClickHouse) -> Client:
    """What intake took in and the recorder stored."""
    client = connect(clickhouse.url, database="calibration")
    migrate(client)
    records = [RawRecord(row, sent(row), samples.at(row) // 1_000) for row in range(200)]
    watched = {"checkout": Watched.of(EXPERIMENT, 0)}
    result = process_traces(records, SOURCE, watched, salt=b"salt", now_micros=samples.at(200))
    clean = samples.stored("traces_clean", [clean_to_bytes(result.clean)])
    inserts.insert(client, inserts.encode("traces_clean", clean))
    return client


def test_stored_requests_of_control_are_as_they_were_sent(database: Client) -> None:
    read = of_traces(stored.traces(database, EXPERIMENT), EXPERIMENT, "ClickHouse").requests
    direct = of_traces([sent(row) for row in range(200)], EXPERIMENT, "sent").requests
    assert len(read) == 160
    assert read.at.tolist() == direct.at.tolist()
    assert read.unit.tolist() == direct.unit.tolist()
    assert {name: x.tolist() for name, x in read.metrics.items()} == {n: x.tolist() for n, x in direct.metrics.items()}
    assert read.gates.tolist() == direct.gates.tolist()
    assert len(read.details) == 1, "the mask of a card counts as the card"

"""Traces and outcomes for tests: dicts of the contract, framed as services frame them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import fastavro

from stoploss.experiment import Experiment
from stoploss.intake.results import IntakeResult, RawRecord
from stoploss.intake.rows import ProjectedRows
from stoploss.intake.watched import Watched
from stoploss.ledger import Source
from stoploss.spec.file import parse_experiment
from stoploss.wire import schemas
from stoploss.wire.framing import single_object
from stoploss.wire.json_records import conform
from tests.intake.alone import process_outcomes, process_traces

AT = 1_790_000_000_000_000
SALT = b"a salt of the installation"
SOURCE = Source("stoploss.traces", "Zm9vYmFyYmF6", 3)
NAME = "checkout-agent-model"

SPEC = """
apiVersion: stoploss/v1alpha1
kind: Experiment
metadata: {name: checkout-agent-model, owner: search-team}
spec:
  hypothesis: The smaller model answers as well.
  unit: model
  success: {metric: resolved}
  assignment: {flag: checkout, randomisationUnit: UNIT, control: current}
  variants:
    - {name: current, tools: [{name: search, scopes: [catalog.read]}], mcpServers: [catalog], dataClasses: [public]}
    - {name: small, tools: [{name: search, scopes: [catalog.read]}], mcpServers: [catalog], dataClasses: [email]}
  segments: [tenant, language, tier, tenant×language]
  scores: [helpfulness]
  guardrails:
    - {metric: error_rate, direction: lower, margin: {relative: 0.10}}
    - {metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, action: pause}
    - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance, action: pause}
    - {metric: pii_suspected_rate, direction: lower, margin: {relative: 0.5}, action: pause}
  gates: [undeclared_tool, undeclared_mcp_server, shadow_side_effect]
  budgets: [{metric: input_tokens, limit: 500, period: 24h, actions: [{burn: 6, do: stop}]}]
  rollback: {to: current}
"""


def experiment(unit: str = "user", name: str = NAME) -> Experiment:
    return parse_experiment(SPEC.replace("UNIT", unit).replace(NAME, name))


def watching(*experiments: Experiment) -> dict[str, Watched]:
    known = experiments or (experiment(),)
    return {one.name: Watched.of(one, partition) for partition, one in enumerate(known)}


def declaring(lines: str, text: str = SPEC) -> dict[str, Watched]:
    """The experiment with further lines under `spec:`."""
    further = "".join(f"  {line}\n" for line in lines.strip().splitlines())
    return watching(parse_experiment(text.replace("UNIT", "user") + further))


def assigned(variant: str = "current", name: str = NAME, **more: Any) -> dict[str, Any]:
    return {"experiment": name, "variant": variant, **more}


def trace(**fields: Any) -> dict[str, Any]:
    """A trace as a whole record; it is assigned to the control variant unless it says otherwise."""
    base = {"trace_id": "t-1", "at": AT, "unit_id": "user-1", "latency_ms": 100.0, "assignments": [assigned()]}
    return conform({**base, **fields}, "trace")


def outcome(**fields: Any) -> dict[str, Any]:
    base = {"trace_id": "t-1", "at": AT, "kind": "score", "name": "helpfulness", "value": 0.5, "unit_id": "user-1"}
    return conform({**base, "assignments": [assigned()], **fields}, "outcome")


def datum(record: dict[str, Any], name: str = "trace") -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schemas.schema(name).parsed, record)
    return out.getvalue()


def avro(record: dict[str, Any], name: str = "trace") -> bytes:
    return single_object(schemas.schema(name).fingerprint, datum(record, name))


def as_json(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()


def raw(values: Sequence[bytes | None]) -> list[RawRecord]:
    """Records at offsets 100, 101, … whose broker time is AT."""
    return [RawRecord(100 + place, value, AT // 1_000) for place, value in enumerate(values)]


def take_in(*traces: dict[str, Any], watched: dict[str, Watched] | None = None) -> IntakeResult:
    known = watching() if watched is None else watched
    return process_traces(raw([avro(one) for one in traces]), SOURCE, known, salt=SALT, now_micros=AT)


def take_in_outcomes(*outcomes: dict[str, Any], watched: dict[str, Watched] | None = None) -> IntakeResult:
    known = watching() if watched is None else watched
    values = [avro(one, "outcome") for one in outcomes]
    return process_outcomes(raw(values), SOURCE, known, salt=SALT, now_micros=AT)


def rows_of(*traces: dict[str, Any], watched: dict[str, Watched] | None = None) -> ProjectedRows:
    return take_in(*traces, watched=watched).rows[NAME]


def gates_of(rows: ProjectedRows, row: int = 0) -> list[str]:
    """Names of the gates that a row trips."""
    bits = int(rows.columns["gates"][row])
    return [name for place, name in enumerate(rows.gate_names) if bits >> place & 1]

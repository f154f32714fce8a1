from __future__ import annotations

import io
import math
from typing import Any

import fastavro
import pytest

from stoploss.emit.assignment import Assignment
from stoploss.emit.context import Context, to_token
from stoploss.emit.encoding import LONGEST_TEXT, encode_count, encode_outcome, encode_trace
from stoploss.emit.errors import Unsendable
from stoploss.wire import schemas
from stoploss.wire.framing import framing_of

WHOLE: dict[str, Any] = {
    "trace_id": "t-1",
    "at": 1_700_000_000_000_000,
    "service": "checkout",
    "unit_id": "u-1",
    "tenant": "acme",
    "role": "shadow",
    "latency_ms": 812.5,
    "time_to_first_token_ms": 80.25,
    "input_tokens": 1_020,
    "output_tokens": 129,
    "cost_usd": 0.00125,
    "pii_exposed": True,
    "assignments": [Assignment("e", "v", 2, 5, True), {"experiment": "f", "variant": "w"}],
    "scores": [{"name": "helpfulness", "value": 0.75}],
    "steps": [{"kind": "tool", "name": "search", "scope": "catalog.read", "side_effect": True}],
    "attributes": {"region": "eu"},
    "versions": {"index": "7"},
}


def decoded(name: str, value: bytes) -> dict[str, Any]:
    framing = framing_of(value)
    schema = schemas.by_fingerprint(framing.mark)
    assert schema.name == name
    datum = io.BytesIO(value[framing.size :])
    record = fastavro.schemaless_reader(datum, schema.parsed, None)
    assert isinstance(record, dict)
    assert datum.read() == b""
    return record


def test_a_whole_trace_reads_back_by_the_schema_that_its_framing_names() -> None:
    encoded = encode_trace(WHOLE)
    trace = decoded("trace", encoded.value)
    same = (
        "trace_id",
        "at",
        "service",
        "unit_id",
        "tenant",
        "role",
        "latency_ms",
        "input_tokens",
        "cost_usd",
        "scores",
    )
    assert {name: trace[name] for name in same} == {name: WHOLE[name] for name in same}
    assert trace["assignments"] == [
        {"experiment": "e", "variant": "v", "consent": True, "run": 2, "epoch": 5},
        {"experiment": "f", "variant": "w", "consent": None, "run": None, "epoch": None},
    ]
    assert trace["steps"][0]["scope"] == "catalog.read"
    assert trace["attributes"] == [{"key": "region", "value": "eu"}]
    assert trace["versions"] == [{"key": "index", "value": "7"}]
    assert trace["channel"] is None
    assert (encoded.key, encoded.reasons) == ("t-1", ())


@pytest.mark.parametrize(
    ("field", "value", "sent", "reason"),
    [
        ("latency_ms", math.nan, None, "latency_ms: not a finite number of at least 0"),
        ("latency_ms", -1.0, None, "latency_ms: not a finite number of at least 0"),
        ("latency_ms", "fast", None, "latency_ms: not of its type"),
        ("cost_usd", math.inf, None, "cost_usd: not a finite number of at least 0"),
        ("output_tokens", 12.5, None, "output_tokens: not of its type"),
        ("input_tokens", True, None, "input_tokens: not a finite number of at least 0"),
        ("input_tokens", 2**63, None, "input_tokens: not of its type"),
        ("tenant", 7, None, "tenant: not of its type"),
        ("tenant", "\ud800", None, "tenant: not of its type"),
        ("role", "ghost", "live", "role: not of its type"),
        ("attributes", {"region": 7}, [], "attributes: an item is not of its type"),
        ("assignments", None, [], "assignments: not a list"),
        ("scores", [{"name": "s", "value": math.nan}], [], "scores: not a finite number"),
        ("steps", [{"kind": "tool"}], [], "steps: an item is not of its type"),
        ("temperature", 0.7, None, "unknown field"),
    ],
)
def test_a_wrong_value_goes_missing_alone_and_is_named(field: str, value: Any, sent: Any, reason: str) -> None:
    encoded = encode_trace(WHOLE | {field: value})
    trace = decoded("trace", encoded.value)
    assert trace.get(field) == sent
    assert encoded.reasons == (reason,)
    kept = {"trace_id": "t-1", "unit_id": "u-1", "service": "checkout"}
    assert {name: trace[name] for name in kept} == kept


def test_right_items_stay_beside_a_wrong_one() -> None:
    scores = [{"name": "a", "value": 0.5}, {"name": "b", "value": math.inf}, "c"]
    encoded = encode_trace(WHOLE | {"scores": scores})
    assert decoded("trace", encoded.value)["scores"] == [{"name": "a", "value": 0.5}]
    assert encoded.reasons == ("scores: not a finite number", "scores: an item is not of its type")


def test_a_misspelled_detail_of_a_step_is_named() -> None:
    steps = [{"kind": "tool", "name": "search", "server": "catalog"}]
    assert encode_trace(WHOLE | {"steps": steps}).reasons == ("steps: unknown field",)


@pytest.mark.parametrize(
    ("field", "value"), [("trace_id", ""), ("trace_id", "x" * 65), ("trace_id", None), ("at", "now"), ("at", 2**63)]
)
def test_a_trace_without_id_or_time_is_refused_with_its_reason(field: str, value: Any) -> None:
    with pytest.raises(Unsendable, match=f"^{field}: "):
        encode_trace(WHOLE | {field: value})


def test_texts_are_masked_unless_the_tracer_opts_out() -> None:
    spoken = {"input_text": "I am ann@example.org", "output_text": "card 4111111111111111"}
    masked = decoded("trace", encode_trace(WHOLE | spoken).value)
    assert (masked["input_text"], masked["output_text"]) == ("I am [masked:email]", "card [masked:card]")
    raw = decoded("trace", encode_trace(WHOLE | spoken, mask=False).value)
    assert {name: raw[name] for name in spoken} == spoken


def test_a_long_text_is_cut_after_it_was_masked() -> None:
    text = "x" * (LONGEST_TEXT - 8) + " 4111111111111111"
    sent = decoded("trace", encode_trace(WHOLE | {"output_text": text}).value)["output_text"]
    assert len(sent) == LONGEST_TEXT
    assert sent.endswith(" [masked")


def test_the_services_own_dict_is_not_touched() -> None:
    before = repr(WHOLE)
    encode_trace(WHOLE | {"output_text": "ann@example.org"})
    assert repr(WHOLE) == before


OUTCOME: dict[str, Any] = {"at": 1, "kind": "business", "name": "resolved", "value": 1.0, "source": "system"}


def test_an_outcome_carries_the_context_of_its_token() -> None:
    context = Context("t-1", "u-1", (Assignment("e", "v", 2, 5),), "acme", "de", "web", "c-9", {"region": "eu"})
    encoded = encode_outcome(OUTCOME | {"context": to_token(context)})
    assert decoded("outcome", encoded.value) == OUTCOME | {
        "trace_id": "t-1",
        "unit_id": "u-1",
        "conversation_id": "c-9",
        "tenant": "acme",
        "language": "de",
        "channel": "web",
        "assignments": [{"experiment": "e", "variant": "v", "consent": None, "run": 2, "epoch": 5}],
        "attributes": [{"key": "region", "value": "eu"}],
    }
    assert encoded.key == "t-1"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"value": math.nan}, "value: not a finite number"),
        ({"value": "good"}, "value: not of its type"),
        ({"name": None}, "name: not of its type"),
        ({"kind": "opinion"}, "kind: not of its type"),
        ({"context": "nonsense"}, "context: not base64 of JSON"),
    ],
)
def test_a_wrong_outcome_is_refused_with_its_reason(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unsendable, match=f"^{reason}$"):
        encode_outcome(OUTCOME | {"context": to_token(Context("t-1"))} | changed)


def test_an_assignment_count_reads_back_and_is_keyed_by_its_experiment() -> None:
    count = {
        "service": "s",
        "instance": "i",
        "at": 1,
        "experiment": "e",
        "variant": "v",
        "count": 3,
        "interval_s": 10.0,
    }
    encoded = encode_count(count)
    assert decoded("assignment_count", encoded.value) == count
    assert encoded.key == "e"

"""Both forms of OTLP, against the official messages."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import orjson
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from stoploss.errors import ConfigurationError, MalformedRecord
from stoploss.otlp import encoding, json_form, messages, prices, values
from stoploss.otlp.assigning import Flags
from stoploss.otlp.attributes import LONGEST_REMEMBERED_BYTES, Attributes
from stoploss.otlp.spans import Span
from stoploss.otlp.translating import LOGS, SPANS
from tests.otlp.telling import CHAT, EVALUATED, Telling, event, fill, logged, translator

EXAMPLES = Path(__file__).parent / "examples"
OFFICIAL = {
    "Traces": trace_service_pb2.ExportTraceServiceRequest,
    "Logs": logs_service_pb2.ExportLogsServiceRequest,
}


def agent() -> Telling:
    told = Telling(**{"host.name": "a"})
    root = told.span("POST /chat", {"http.route": "/chat"}, kind=2, flags=0x101)
    event(root, "feature_flag.evaluation", EVALUATED, at_ms=1)
    event(root, "shop.sold", {"article": "chair"})
    call = told.span("chat gpt", {**CHAT, "gen_ai.response.finish_reasons": ["stop"]}, parent=root, at_ms=5)
    call.status.code = 2
    told.span("Zürich 東京", {"gen_ai.operation.name": "execute_tool", "stoploss.step.side_effect": True}, parent=root)
    return told


def official(spans: Any) -> list[tuple[Any, ...]]:
    return [
        (s.trace_id, s.span_id, s.parent_span_id, s.name.encode(), s.kind, s.start_time_unix_nano)
        + (s.end_time_unix_nano, s.flags, s.status.code)
        for s in spans
    ]


def ours(spans: list[Span]) -> list[tuple[Any, ...]]:
    return [
        (s.trace_id, s.span_id, s.parent_id, s.name, s.kind, s.start_ns, s.end_ns, s.flags, s.status) for s in spans
    ]


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.pb") if path.stem != "logs"))
def test_own_messages_read_what_the_official_ones_read(name: str) -> None:
    value = (EXAMPLES / f"{name}.pb").read_bytes()
    whole = OFFICIAL["Traces"].FromString(value)
    told = [span for part in whole.resource_spans for scope in part.scope_spans for span in scope.spans]
    assert ours(translator().read_spans(value)) == official(told)


@pytest.mark.parametrize("name", ["Traces", "Logs"])
def test_field_numbers_and_types_are_the_official_ones(name: str) -> None:
    pairs = [(getattr(messages, name).DESCRIPTOR, OFFICIAL[name].DESCRIPTOR)]
    seen = set()
    while pairs:
        own, theirs = pairs.pop()
        seen.add(own.name)
        for field in own.fields:
            other = theirs.fields_by_number[field.number]
            assert field.is_repeated == other.is_repeated, other.full_name
            left_as_bytes = field.type == field.TYPE_BYTES
            assert left_as_bytes or field.cpp_type in (other.cpp_type, field.CPPTYPE_INT32), other.full_name
            if field.message_type is not None and field.message_type.name not in seen:
                pairs.append((field.message_type, other.message_type))


def test_json_says_the_same_as_protobuf() -> None:
    told = agent()
    assert translator().read_spans(told.json) == translator().read_spans(told.value)


@pytest.mark.parametrize("by_attribute", [False, True])
def test_log_events_are_named_by_field_or_by_attribute(by_attribute: bool) -> None:
    (read,) = translator().read_logs(logged("feature_flag.evaluation", EVALUATED, by_attribute=by_attribute))
    assert read.name == "feature_flag.evaluation"
    assert read.values["flag"][2] == "assistant-model"


def test_log_events_in_json_are_the_same() -> None:
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in EVALUATED.items()]
    record = {"traceId": bytes(range(16)).hex(), "eventName": "feature_flag.evaluation", "attributes": attributes}
    record["timeUnixNano"] = "1800000000000000000"
    value = orjson.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    assert translator().read_logs(value) == translator().read_logs(logged("feature_flag.evaluation", EVALUATED))


def test_numbers_of_64_bits_come_as_text_or_as_numbers() -> None:
    told = orjson.loads(agent().json)
    span = told["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["startTimeUnixNano"] = int(span["startTimeUnixNano"])
    assert translator().read_spans(orjson.dumps(told)) == translator().read_spans(agent().json)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\x00", "ExportTraceServiceRequest"),
        (b"{", "no OTLP JSON"),
        (b'{"resourceSpans": {}}', "resourceSpans is a dict"),
        (b'{"resourceSpans": [1]}', "list of objects"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xy"}]}]}]}', "hexadecimal"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": "-1"}]}]}]}', "64 bits"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"endTimeUnixNano": 1.5}]}]}]}', "64 bits"),
        (b"\x0a" * 1_100_000, "max_message_bytes"),
    ],
)
def test_what_is_no_otlp_is_refused_with_a_reason(value: bytes | None, says: str) -> None:
    with pytest.raises(MalformedRecord, match=says):
        translator().take(SPANS, value, 0, 0.0)


def test_logs_that_are_none_are_refused() -> None:
    with pytest.raises(MalformedRecord, match="ExportLogsServiceRequest"):
        translator().take(LOGS, b"\x07", 0, 0.0)


def test_values_nested_too_deep_are_left_out() -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    told = Telling()
    told.span("chat", {**CHAT, "gen_ai.output.messages": deep})
    for value in (told.value, told.json):
        (span,) = translator().read_spans(value)
        assert span.values["input_tokens"][2] == 1_000


def test_attributes_are_remembered_by_their_bytes_and_long_ones_are_not() -> None:
    told = Telling()
    told.span("chat", {**CHAT, "gen_ai.conversation.id": "x" * LONGEST_REMEMBERED_BYTES})
    reading = translator()
    first = reading.read_spans(told.value)
    assert reading.read_spans(told.value) == first
    assert all(len(raw) <= LONGEST_REMEMBERED_BYTES for raw in reading._attributes._known)


def test_of_two_names_the_newer_convention_counts() -> None:
    told = Telling()
    told.span("chat", {"llm.token_count.prompt": 7, "gen_ai.usage.input_tokens": 9, "gen_ai.usage.prompt_tokens": 8})
    for value in (told.value, told.json):
        (span,) = translator().read_spans(value)
        assert span.values["input_tokens"][2] == 9


def test_of_many_messages_the_last_one_is_the_text() -> None:
    told = Telling()
    told.span("chat", {f"gen_ai.prompt.{place}.content": str(place) for place in (0, 11, 2)})
    (span,) = translator().read_spans(told.value)
    assert span.values["input_text"][2] == "11"


def test_an_attribute_that_is_read_already_cannot_be_configured() -> None:
    with pytest.raises(ConfigurationError, match="read as unit_id already"):
        Attributes(Flags(configured={"user.id": "checkout"}).attributes)


def test_keys_longer_than_127_bytes_are_no_problem() -> None:
    told = Telling()
    told.span("chat", {"k" * 300: "x", **CHAT})
    (span,) = translator().read_spans(told.value)
    assert span.values["request_model"][2] == "gpt"


def test_resources_of_several_services_stay_apart() -> None:
    told = Telling()
    told.span("a")
    other = told.request.resource_spans.add()
    fill(other.resource.attributes, {"service.name": "kitchen"})
    other.scope_spans.add().spans.add(trace_id=bytes(range(16)), span_id=b"8bytes..")
    services = [span.resource["service"][2] for span in translator().read_spans(told.value)]
    assert services == ["shop", "kitchen"]


@pytest.mark.parametrize("module", [encoding, json_form, prices, values])
def test_doctests(module: Any) -> None:
    assert doctest.testmod(module).failed == 0

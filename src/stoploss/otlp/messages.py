"""OTLP's protobuf messages, as far as stoploss reads them, with attributes left as bytes.

Built here instead of taken from `opentelemetry-proto`: there each attribute of each span becomes three Python objects.
Most attributes say the same as on the span before, so their bytes are looked up in a memory (attributes.py) and parsed
only when they are new. Field numbers are those of opentelemetry-proto 1.x, which keeps them for good;
`tests/otlp/test_reading.py` compares with it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "stoploss.otlp"
Field = descriptor_pb2.FieldDescriptorProto

SHAPES: dict[str, tuple[tuple[int, str, str], ...]] = {
    # message: number, name, type; "*" stands before what is repeated, other messages by name
    "Traces": ((1, "resources", "*ResourceSpans"),),
    "ResourceSpans": ((1, "resource", "Resource"), (2, "scopes", "*ScopeSpans")),
    "Resource": ((1, "attributes", "*bytes"),),
    "ScopeSpans": ((2, "spans", "*Span"),),
    "Span": (
        (1, "trace_id", "bytes"),
        (2, "span_id", "bytes"),
        (4, "parent_id", "bytes"),
        (5, "name", "bytes"),
        (6, "kind", "int32"),
        (7, "start_ns", "fixed64"),
        (8, "end_ns", "fixed64"),
        (9, "attributes", "*bytes"),
        (11, "events", "*Event"),
        (15, "status", "Status"),
        (16, "flags", "fixed32"),
    ),
    "Event": ((1, "at_ns", "fixed64"), (2, "name", "bytes"), (3, "attributes", "*bytes")),
    "Status": ((3, "code", "int32"),),
    "Logs": ((1, "resources", "*ResourceLogs"),),
    "ResourceLogs": ((1, "resource", "Resource"), (2, "scopes", "*ScopeLogs")),
    "ScopeLogs": ((2, "records", "*LogRecord"),),
    "LogRecord": (
        (1, "at_ns", "fixed64"),
        (5, "body", "AnyValue"),
        (6, "attributes", "*bytes"),
        (9, "trace_id", "bytes"),
        (10, "span_id", "bytes"),
        (11, "observed_ns", "fixed64"),
        (12, "event_name", "bytes"),
    ),
    "KeyValue": ((1, "key", "string"), (2, "value", "AnyValue")),
    "AnyValue": (
        (1, "string", "string"),
        (2, "boolean", "bool"),
        (3, "integer", "int64"),
        (4, "double", "double"),
        (5, "array", "ArrayValue"),
        (6, "pairs", "KeyValueList"),
        (7, "raw", "bytes"),
    ),
    "ArrayValue": ((1, "values", "*AnyValue"),),
    "KeyValueList": ((1, "values", "*KeyValue"),),
}
_SCALARS = {
    "bytes": Field.TYPE_BYTES,
    "string": Field.TYPE_STRING,
    "bool": Field.TYPE_BOOL,
    "int32": Field.TYPE_INT32,
    "int64": Field.TYPE_INT64,
    "fixed32": Field.TYPE_FIXED32,
    "fixed64": Field.TYPE_FIXED64,
    "double": Field.TYPE_DOUBLE,
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="stoploss/otlp.proto", package=PACKAGE, syntax="proto3")
    for name, shape in SHAPES.items():
        message = file.message_type.add(name=name)
        if name == "AnyValue":
            message.oneof_decl.add(name="value")
        for number, field, kind in shape:
            _add_field(message, number, field, kind)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, number: int, name: str, kind: str) -> None:
    bare = kind.removeprefix("*")
    field = message.field.add(name=name, number=number)
    field.label = Field.LABEL_OPTIONAL if bare == kind else Field.LABEL_REPEATED
    if bare in _SCALARS:
        field.type = _SCALARS[bare]
    else:
        field.type, field.type_name = Field.TYPE_MESSAGE, f".{PACKAGE}.{bare}"
    if message.name == "AnyValue":
        field.oneof_index = 0


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in SHAPES}


_MADE = _classes()
Traces: Any = _MADE["Traces"]
Logs: Any = _MADE["Logs"]
KeyValue: Any = _MADE["KeyValue"]

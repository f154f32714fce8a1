"""Why a record becomes a dead letter: one code for each kind of fault, to count and to select by."""

from __future__ import annotations

from typing import Literal

Code = Literal[
    "empty",
    "too_large",
    "unknown_framing",
    "unknown_schema",
    "malformed_avro",
    "malformed_json",
    "malformed_otlp",
    "malformed",
    "too_many_items",
    "trace_id",
    "trace_id_reused",
    "number",
    "assigned_twice",
    "unresolved",
    "not_registered",
]

WHAT_TO_DO: dict[Code, str] = {
    "empty": "The record has no value. The sender writes a tombstone, or nothing: look at its client.",
    "too_large": "The record is larger than is read, or a bare outcome larger than is looked up. Send less text.",
    "unknown_framing": "Neither JSON nor Avro as stoploss reads it. Look at the sender's serializer.",
    "unknown_schema": "Nobody knows the schema that it names, or the registry has not answered yet: then retry.",
    "malformed_avro": "It is no whole record of the schema that it names. The sender's schema and data differ.",
    "malformed_json": "Its JSON cannot be read, or does not fit the record. The reason names the field.",
    "malformed_otlp": "No OTLP spans or logs as the Collector's kafka exporter writes them. Only its size is kept.",
    "malformed": "A request or a ledger entry that cannot be read: by another version, or not by stoploss.",
    "too_many_items": "One of its lists is longer than is read. Send the first items.",
    "trace_id": "Its trace id is empty or too long.",
    "trace_id_reused": "The id came before with other content, which stands. Give every request an id of its own.",
    "number": "A number is not finite, negative, or larger than is kept exactly. Send null for what is not known.",
    "assigned_twice": "It names two variants of one experiment. Only one was served.",
    "unresolved": "An outcome without assignments whose trace was never stored. Once it is: retry.",
    "not_registered": "By an older version: a request of an experiment that nobody had registered.",
}

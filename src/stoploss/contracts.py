"""What stands on each topic: which records, under which key, with which headers, and how its schemas may change.

One table for asyncapi.yaml and for the schema registry; topics.py says how the topics are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stoploss.ledger import FACTS
from stoploss.signing import SIGNATURE_HEADER
from stoploss.topics import TOPICS, Names
from stoploss.wire import schemas

Compatibility = Literal["FULL_TRANSITIVE", "BACKWARD_TRANSITIVE"]

# FULL: old readers read new values and new readers old ones. BACKWARD: new readers read old values.
# The journal is BACKWARD: its union of conclusions grows, so who reads it is upgraded before who writes it.
FULL = frozenset({"trace", "outcome", "checkpoint", *FACTS})


def compatibility(record: str) -> Compatibility:
    """How versions of a record go together; all of them, not only neighbours."""
    return "FULL_TRANSITIVE" if record in FULL else "BACKWARD_TRANSITIVE"


@dataclass(frozen=True, slots=True)
class Contract:
    """The messages of one topic.

    key      what the key is; empty: the records have none
    records  schemas of the values, by file name; empty: the values are no Avro of ours
    content  media type of such values, and what they are
    headers  name -> what it holds
    json     whether a JSON object with the same fields is taken as well
    """

    key: str
    records: tuple[str, ...] = ()
    content: tuple[str, str] = ("", "")
    headers: Mapping[str, str] = field(default_factory=dict)
    json: bool = False


_EXPERIMENT = "The name of the experiment."
_SIGNED = {SIGNATURE_HEADER: "keyid=<8 hex>;ed25519=<base64>, over the value"}
_DUE = {"stoploss-due": "when it is tried again, in milliseconds since 1970, as a decimal number"}
_ANY = "Anything; the SDK uses the id of the trace."
_CLOUD_EVENT = {
    "ce_specversion": "1.0",
    "ce_id": "the id of the command",
    "ce_type": "dev.stoploss.command.<action>.v1",
    "ce_source": "stoploss/<installation>",
    "ce_subject": "the experiment",
    "ce_time": "when it was decided, RFC 3339",
    "content-type": "application/avro",
}
_PARTS = {"generation": "of which snapshot this is a part", "parts": "how many parts it has"}
_PROTOBUF = "application/x-protobuf"
_TRACE_ID = "The id of the trace, as the Collector's exporter writes it."

CONTRACTS: dict[str, Contract] = {
    "traces": Contract(_ANY, ("trace",), json=True),
    "outcomes": Contract(_ANY, ("outcome",), json=True),
    "outcomes_resolved": Contract("The id of the trace.", ("outcome",), json=True),
    "outcomes_retry_1m": Contract("The id of the trace.", ("outcome",), headers=_DUE, json=True),
    "outcomes_retry_10m": Contract("The id of the trace.", ("outcome",), headers=_DUE, json=True),
    "outcomes_retry_1h": Contract("The id of the trace.", ("outcome",), headers=_DUE, json=True),
    "otlp_spans": Contract(
        _TRACE_ID, content=(_PROTOBUF, "An ExportTraceServiceRequest of OTLP, or the same as JSON.")
    ),
    "otlp_logs": Contract(_TRACE_ID, content=(_PROTOBUF, "An ExportLogsServiceRequest of OTLP, or the same as JSON.")),
    "assignments": Contract("Service, instance and what is counted.", ("assignment_count",)),
    "experiments": Contract(_EXPERIMENT, ("request",), headers=_SIGNED),
    "ledger": Contract("The experiment; none for facts of the whole partition.", tuple(FACTS)),
    "journal": Contract(_EXPERIMENT, ("journal_entry", "spend_entry")),
    "checkpoints": Contract(_EXPERIMENT, ("checkpoint",), headers=_SIGNED),
    "measures": Contract(_EXPERIMENT, ("measure",)),
    "control": Contract(_EXPERIMENT, ("command",), headers=_CLOUD_EVENT | _SIGNED),
    "acks": Contract(_EXPERIMENT, ("ack",)),
    "leases": Contract("Empty: a lease is of its ledger partition.", ("lease",), headers=_SIGNED),
    "registry": Contract(_EXPERIMENT, ("registry_entry",)),
    "snapshots": Contract(
        "snapshot/<slot>/<part>, or cursor/<experiment>.",
        content=("application/octet-stream", "The judge's state, in parts with a MAC; read by the judge alone."),
        headers=_PARTS,
    ),
    "schemas": Contract(
        "Name and fingerprint: evidence_block/0123456789abcdef.",
        content=("application/json", "An Avro schema by which a worker writes."),
    ),
    "policy": Contract("policy, or freeze for a stopped line.", ("request",)),
    "traces_clean": Contract(
        "", content=("application/vnd.apache.arrow.stream", "Masked and validated rows, for the recorder alone.")
    ),
    "deadletter": Contract("The topic that it was read from, or none.", ("dead_letter",)),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """One name in a schema registry, and what belongs under it.

    name    as Confluent's serializers find it: TopicNameStrategy where a topic has one record, else
            TopicRecordNameStrategy
    record  the schema, by file name
    """

    name: str
    record: str

    @property
    def compatibility(self) -> Compatibility:
        return compatibility(self.record)


def subjects(names: Names) -> list[Subject]:
    """Of all topics with Avro values, in the order of the table."""
    return [
        Subject(_subject(names(topic), contract.records, record), record)
        for topic, contract in CONTRACTS.items()
        for record in contract.records
        if topic in TOPICS
    ]


def _subject(topic: str, records: tuple[str, ...], record: str) -> str:
    """
    >>> _subject("stoploss.traces", ("trace",), "trace"), _subject("stoploss.ledger", ("tick", "request"), "tick")
    ('stoploss.traces-value', 'stoploss.ledger-dev.stoploss.Tick')
    """
    if len(records) == 1:
        return f"{topic}-value"
    source = schemas.schema(record).source
    return f"{topic}-{source['namespace']}.{source['name']}"

"""The AsyncAPI 3.1.0 document of all topics, from contracts.py, topics.py and the schemas.

python -m stoploss.asyncapi > schemas/asyncapi.yaml
"""

from __future__ import annotations

from typing import Any

import yaml

from stoploss import __version__
from stoploss.contracts import CONTRACTS, Contract, compatibility
from stoploss.topics import TOPICS, Names, Topic
from stoploss.wire import schemas

AVRO = "application/vnd.apache.avro;version=1.9.0"
TAKEN = {"traces", "outcomes", "otlp_spans", "otlp_logs", "assignments", "experiments", "acks"}
"""Topics that others write to; from all others they read."""
Node = dict[str, Any]


def document() -> Node:
    """Channels are topics of an installation with the usual prefix; operations are seen from stoploss."""
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "stoploss",
            "version": __version__,
            "description": "Every topic of an installation: what stands in it, under which key, with which headers. "
            "Values of services may be Avro in single-object encoding, Avro in Confluent's framing, or JSON; all "
            "others are Avro in single-object encoding.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/avro",
        "channels": {name: _channel(TOPICS[name], contract) for name, contract in CONTRACTS.items()},
        "operations": {_operation(name): _operation_node(name, contract) for name, contract in CONTRACTS.items()},
        "components": {"messages": _messages()},
    }


def text() -> str:
    """As it is committed."""
    heading = "# Made by `python -m stoploss.asyncapi`; change contracts.py, topics.py or the schemas instead.\n"
    return heading + yaml.safe_dump(document(), sort_keys=False, width=110, allow_unicode=True)


def _channel(topic: Topic, contract: Contract) -> Node:
    kafka = {
        "topic": Names()(topic.name),
        "topicConfiguration": _configuration(topic),
        "bindingVersion": "0.5.0",
    }
    return {
        "address": Names()(topic.name),
        "description": topic.carries,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _names(topic.name, contract)},
        "bindings": {"kafka": kafka},
    }


def _configuration(topic: Topic) -> Node:
    kept: Node = {"cleanup.policy": ["compact" if topic.compact else "delete"]}
    return kept if topic.compact else kept | {"retention.ms": topic.retention_ms}


def _operation(name: str) -> str:
    return f"{'receive' if name in TAKEN else 'send'}_{name}"


def _operation_node(name: str, contract: Contract) -> Node:
    channel = f"#/channels/{name}"
    return {
        "action": "receive" if name in TAKEN else "send",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{message}"} for message in _names(name, contract)],
    }


def _names(topic: str, contract: Contract) -> list[str]:
    """Of the messages: one for each record, or one for the topic."""
    return [f"{topic}.{record}" for record in contract.records] or [topic]


def _messages() -> Node:
    found: Node = {}
    for topic, contract in CONTRACTS.items():
        for record in contract.records:
            found[f"{topic}.{record}"] = _avro_message(record, contract)
        if not contract.records:
            found[topic] = _other_message(topic, contract)
    return found


def _avro_message(record: str, contract: Contract) -> Node:
    schema = schemas.schema(record)
    also = " A JSON object with the same fields is taken as well." if contract.json else ""
    return {
        "name": f"{schema.source['namespace']}.{schema.source['name']}",
        "contentType": "application/avro",
        "description": f"{schema.source['doc']}{also} Versions are {compatibility(record)}; this one has "
        f"the fingerprint {schema.fingerprint.hex()}.",
        "payload": {"schemaFormat": AVRO, "schema": {"$ref": f"./{record}.avsc"}},
        **_beside(contract),
    }


def _other_message(topic: str, contract: Contract) -> Node:
    content_type, description = contract.content
    return {"name": topic, "contentType": content_type, "description": description, **_beside(contract)}


def _beside(contract: Contract) -> Node:
    """Headers and key."""
    headers = {name: {"type": "string", "description": text} for name, text in contract.headers.items()}
    key = {"kafka": {"key": {"type": "string", "description": contract.key}, "bindingVersion": "0.5.0"}}
    return {
        **({"headers": {"type": "object", "properties": headers, "required": sorted(headers)}} if headers else {}),
        **({"bindings": key} if contract.key else {}),
    }


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201 - the document

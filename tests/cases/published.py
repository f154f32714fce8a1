"""The parts of two published formats that the exports use, as JSON Schema, written down from their sources.

promptfoo  test cases: https://promptfoo.dev/config-schema.json (site/static/config-schema.json of promptfoo/promptfoo),
           the items of `tests`: which fields there are, and of what type; assertions likewise
openai     https://github.com/openai/openai-openapi (openapi.yaml), EvalJsonlFileContentSource: the items of `content`,
           each a line of the file; EvalRunOutputItem: what comes back
"""

from __future__ import annotations

from typing import Any

ASSERTION: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "value": {},
        "config": {"type": "object"},
        "threshold": {"type": "number"},
        "weight": {"type": "number"},
        "provider": {},
        "rubricPrompt": {},
        "metric": {"type": "string"},
        "transform": {"type": "string"},
        "contextTransform": {"type": "string"},
    },
    "required": ["type"],
    "additionalProperties": False,
}

PROMPTFOO_TESTS: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "description": {"type": "string"},
            "vars": {},
            "provider": {},
            "providers": {"type": "array", "items": {"type": "string"}},
            "prompts": {"type": "array", "items": {"type": "string"}},
            "providerOutput": {"type": ["string", "object"]},
            "assert": {"type": "array", "items": ASSERTION},
            "assertScoringFunction": {},
            "options": {"type": "object"},
            "threshold": {"type": "number"},
            "metadata": {"type": "object"},
        },
        "additionalProperties": False,
    },
}

OPENAI_LINE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "item": {"type": "object", "additionalProperties": True},
        "sample": {"type": "object", "additionalProperties": True},
    },
    "required": ["item"],
}

OPENAI_OUTPUT_ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "object": {"type": "string", "enum": ["eval.run.output_item"]},
        "id": {"type": "string"},
        "run_id": {"type": "string"},
        "eval_id": {"type": "string"},
        "created_at": {"type": "integer"},
        "status": {"type": "string"},
        "datasource_item_id": {"type": "integer"},
        "datasource_item": {"type": "object", "additionalProperties": True},
        "results": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
        "sample": {"type": "object"},
    },
    "required": ["object", "id", "run_id", "eval_id", "status", "datasource_item_id", "datasource_item", "results"],
}

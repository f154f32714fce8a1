"""What an arm is made of, as declared: all that a unit of change may differ in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stoploss.review.words import listed
from stoploss.spec.variants import Variant

HASH_CHARS = 12
"""Of a prompt's hash, in text; the data have it whole."""


@dataclass(frozen=True, slots=True)
class VariantLine:
    """
    versions      of data, index, features and whatever else answers are made with
    scopes        of each tool
    side_effects  tools that may change something outside
    """

    name: str
    model: str | None
    prompt: str | None
    prompt_hash: str | None
    versions: Mapping[str, str]
    routing: str | None
    tools: tuple[str, ...]
    scopes: Mapping[str, tuple[str, ...]]
    side_effects: tuple[str, ...]
    mcp_servers: tuple[str, ...]
    data_classes: tuple[str, ...]


def variant_line(variant: Variant) -> VariantLine:
    return VariantLine(
        name=variant.name,
        model=variant.model,
        prompt=variant.prompt,
        prompt_hash=variant.prompt_hash,
        versions=variant.versions,
        routing=variant.routing,
        tools=tuple(tool.name for tool in variant.tools),
        scopes={tool.name: tool.scopes for tool in variant.tools},
        side_effects=tuple(tool.name for tool in variant.tools if tool.side_effect),
        mcp_servers=variant.mcp_servers,
        data_classes=variant.data_classes,
    )


def variant_text(line: VariantLine) -> str:
    parts = [
        ("model", line.model),
        ("prompt", line.prompt),
        ("prompt hash", line.prompt_hash and line.prompt_hash[:HASH_CHARS]),
        ("versions", ", ".join(f"{what} {version}" for what, version in line.versions.items())),
        ("routing", line.routing),
        ("tools", listed(list(_tools(line)))),
        ("MCP servers", listed(line.mcp_servers)),
        ("data", listed(line.data_classes)),
    ]
    return f"{line.name} ({'; '.join(f'{name}: {value}' for name, value in parts if value)})"


def _tools(line: VariantLine) -> Iterator[str]:
    for tool in line.tools:
        more = [*line.scopes[tool], *(["side effects"] if tool in line.side_effects else [])]
        yield f"{tool} ({', '.join(more)})" if more else tool

"""The pages that the code writes: commands, topics, records, metrics, codes. `docs/settings.md` and the tables of
`docs/experiment.md` come from the code as well, and are committed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, cast

import typer
from prometheus_client import REGISTRY
from typer.core import TyperGroup
from typer.main import get_command

from stoploss import cli, errors
from stoploss.contracts import CONTRACTS, compatibility
from stoploss.experiment import ALWAYS_ON_GATES, DECLARABLE_GATES, SWITCHED_ON_GATES
from stoploss.metrics import METRICS
from stoploss.rules.verdict import Outcome, Reason
from stoploss.topics import DAY_MS, TOPICS, Topic
from stoploss.wire import schemas
from stoploss.wire.refusals import WHAT_TO_DO

FILES = ("schemas/asyncapi.yaml",)
"""What these pages link to."""


@cache
def pages() -> dict[str, str]:
    """Markdown by the page's place in the site."""
    return {
        "reference/cli.md": commands(),
        "reference/topics.md": topics(),
        "reference/records.md": records(),
        "reference/metrics.md": metrics(),
        "reference/codes.md": codes(),
    }


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """
    >>> print(table(["a", "b"], iter([["1", "x|y"]])))
    | a | b |
    |---|---|
    | 1 | x\\|y |
    """
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("|---" * len(line) + "|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines)


def commands() -> str:
    """What `--help` says of each command."""
    group = cast(TyperGroup, get_command(cli.app))
    top = typer.Context(group, info_name="stoploss", terminal_width=100)
    parts = ["# Commands", "What `stoploss COMMAND --help` prints. " + _exit_codes(), _text(top.get_help())]
    for name in group.commands:
        command = group.commands[name]
        inner = typer.Context(command, info_name=name, parent=top, terminal_width=100)
        parts += [f"## {name}", _text(inner.get_help())]
        for sub in getattr(command, "commands", ()):
            below = typer.Context(command.commands[sub], info_name=sub, parent=inner, terminal_width=100)  # type: ignore[attr-defined]
            parts += [f"### {name} {sub}", _text(below.get_help())]
    return "\n\n".join(parts) + "\n"


def _exit_codes() -> str:
    said = inspect.cleandoc(cli.__doc__ or "").partition("Exit codes: ")[2]
    return "Exit codes: " + " ".join(said.split())


def _text(shown: str) -> str:
    return f"```text\n{shown.rstrip()}\n```"


def topics() -> str:
    """Each topic with what it carries and how it is kept."""
    head = ["topic", "carries", "key", "records", "kept", "holds of people"]
    rows = ([f"`{name}`", topic.carries, *_contract(name), _kept(topic), topic.holds] for name, topic in TOPICS.items())
    about = (
        "# Topics\n\nNames stand behind the prefix, `stoploss.` unless it is set otherwise. `stoploss topics` makes "
        "them. Keys, headers and messages in full: [asyncapi.yaml](../project/schemas/asyncapi.yaml).\n\n"
    )
    return about + table(head, rows) + "\n"


def _contract(name: str) -> tuple[str, str]:
    contract = CONTRACTS.get(name)
    if contract is None:
        return "", ""
    records = ", ".join(f"[{record}](records.md#{record})" for record in contract.records)
    return contract.key, records or contract.content[1]


def _kept(topic: Topic) -> str:
    if topic.compact:
        return "the last of each key"
    return "for good" if topic.retention_ms < 0 else f"{topic.retention_ms / DAY_MS:g} days"


def records() -> str:
    """Each Avro record that stands on a topic, with its fields."""
    names = dict.fromkeys(record for contract in CONTRACTS.values() for record in contract.records)
    about = (
        "# Records\n\nThe current Avro schemas; files are in `schemas/`, every version that ever landed in "
        "`schemas/history/`. [How they are framed, and how they may change](../schemas.md).\n"
    )
    return "\n".join([about, *(_record(name) for name in names)])


def _record(name: str) -> str:
    source = schemas.schema(name).source
    rows = ([f"`{field['name']}`", _kind(field["type"]), field.get("doc", "")] for field in source["fields"])
    fields = table(["field", "type", "what it is"], rows)
    return f"## {name}\n\n{source.get('doc', '')} `{compatibility(name)}`\n\n{fields}\n"


def _kind(schema: Any) -> str:
    """
    >>> _kind(["null", {"type": "array", "items": "string"}])
    'list of string or null'
    """
    if isinstance(schema, list):
        kinds = [_kind(one) for one in schema if one != "null"]
        return " or ".join([*kinds, *(["null"] if "null" in schema else [])])
    if not isinstance(schema, dict):
        return str(schema).rpartition(".")[2]
    match schema["type"]:
        case "array":
            return f"list of {_kind(schema['items'])}"
        case "map":
            return f"map of {_kind(schema['values'])}"
        case "enum":
            return "one of " + ", ".join(schema["symbols"])
        case "record":
            return f"{schema['name']} ({', '.join(field['name'] for field in schema['fields'])})"
        case kind:
            return str(schema.get("logicalType", kind))


def metrics() -> str:
    """What is measured on a trace, and what a worker tells of itself."""
    built_in = ([f"`{one.name}`", one.unit, one.better, "yes" if one.binary else ""] for one in METRICS.values())
    return (
        "# Metrics\n\n## Of traces\n\nWhat guardrails, drift and budgets can read, beside the scores that a spec "
        "declares ([a metric of your own](../my-metric.md)).\n\n"
        + table(["metric", "unit", "better", "a rate"], built_in)
        + "\n\n## Of workers\n\nAt `/metrics` of each worker, where `STOPLOSS_HEALTH_PORT` is set.\n\n"
        + table(["figure", "kind", "labels", "what it is"], _figures())
        + "\n"
    )


def _figures() -> Iterator[list[str]]:
    from streams import measuring

    asked = [*measuring.Lags({}).collect(), *measuring.Sights(dict).collect()]  # a worker registers them as it starts
    for family in sorted([*REGISTRY.collect(), *asked], key=lambda family: family.name):
        if family.name.startswith("stoploss_"):
            yield [f"`{family.name}`", family.type, ", ".join(_labels(family.name)), family.documentation]


def _labels(name: str) -> Sequence[str]:
    from streams import measuring

    found = [one for one in vars(measuring).values() if getattr(one, "_name", None) == name]
    return cast(Sequence[str], found[0]._labelnames) if found else ()


def _listed(names: type[StrEnum]) -> str:
    return ", ".join(f"`{one.value}`" for one in names)


def codes() -> str:
    """Exit codes, errors, dead letters, gates, verdicts and their reasons."""
    tree = inspect.cleandoc(errors.__doc__ or "")
    said, _, drawn = tree.partition("\n\n")
    gates = [
        *([f"`{name}`", "always on"] for name in ALWAYS_ON_GATES),
        *([f"`{name}`", "where `gates` names it"] for name in DECLARABLE_GATES),
        *([f"`{name}`", f"where `{part}` is said"] for name, part in SWITCHED_ON_GATES.items()),
    ]
    return (
        "\n\n".join(
            [
                "# Codes",
                "## Of the command line",
                _exit_codes(),
                "## Errors",
                said,
                _text(drawn),
                "## Dead letters",
                "Why a record could not be used. `stoploss deadletter list --reason CODE` shows those of a code, each "
                "with its own reason; `stoploss deadletter retry --reason CODE` sends them again.",
                table(["code", "what it is"], ([f"`{code}`", said] for code, said in WHAT_TO_DO.items())),
                "## Gates",
                table(["gate", "watched"], iter(gates)),
                "## Verdicts",
                f"What a rule concludes: {_listed(Outcome)}. And why: {_listed(Reason)}.",
                "Alerts have a chapter each in the [runbook](../runbook.md).",
            ]
        )
        + "\n"
    )

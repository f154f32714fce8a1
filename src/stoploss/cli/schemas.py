"""Our schemas in a registry that others keep: what is there, what is missing, what is refused and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

from stoploss.cli import output
from stoploss.cli.progress import working
from stoploss.contracts import Subject, subjects
from stoploss.errors import ConfigurationError, SchemaRefused
from stoploss.settings import load
from stoploss.wire.schemas import landed
from stoploss.wire.subjects import Subjects

WAY_OUT = {
    "FULL_TRANSITIVE": "give a new field a default, leave an old one in place, give a changed one a new name",
    "BACKWARD_TRANSITIVE": "give a new field a default, give a changed one a new name",
}
MEANING = {
    "FULL_TRANSITIVE": "old and new readers must both read what the other version writes",
    "BACKWARD_TRANSITIVE": "new readers must read what every version before wrote",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One subject. schema_id: of the current schema, where it is there."""

    subject: str
    state: Literal["there", "registered", "missing", "refused"]
    compatibility: str
    schema_id: int | None
    why: str = ""


def push(url: str | None, as_json: bool) -> bool:
    """False where something was refused."""
    return _each(url, _pushed, as_json)


def check(url: str | None, as_json: bool) -> bool:
    """False unless everything is there."""
    return _each(url, _checked, as_json)


def _each(url: str | None, work: Callable[[Subjects, Subject], Found], as_json: bool) -> bool:
    settings = load(schema_registry=url)
    address = settings.registry()
    if address is None:
        raise ConfigurationError("no schema registry: say --registry http://host:8081, or set STOPLOSS_SCHEMA_REGISTRY")
    registry = Subjects(address)
    with working("asking the schema registry"):
        rows = [work(registry, subject) for subject in subjects(settings.topics)]
    good = all(row.state in ("there", "registered") for row in rows)
    if as_json:
        output.print_json({"registry": address, "good": good, "subjects": list(map(asdict, rows))})
    else:
        _show(rows)
    return good


def _pushed(registry: Subjects, subject: Subject) -> Found:
    """All versions, oldest first, so that the registry holds the next one against each of them.

    The level is set after the first: a registry may know no level of a subject that it does not know.
    """
    first, *later = landed()[subject.record]
    was_there = registry.find(subject.name, (later or [first])[-1].source) is not None
    try:
        schema_id = registry.register(subject.name, first.source)
        if registry.compatibility(subject.name) != subject.compatibility:
            registry.demand(subject.name, subject.compatibility)
            was_there = False
        for version in later:
            schema_id = registry.register(subject.name, version.source)
    except SchemaRefused as error:
        return Found(subject.name, "refused", subject.compatibility, None, _in_words(subject, [str(error)]))
    return Found(subject.name, "there" if was_there else "registered", subject.compatibility, schema_id)


def _checked(registry: Subjects, subject: Subject) -> Found:
    current = landed()[subject.record][-1].source
    schema_id = registry.find(subject.name, current)
    level = registry.compatibility(subject.name)
    if schema_id is None:
        refusals = registry.refusals(subject.name, current)
        if refusals:
            return Found(subject.name, "refused", level or "", None, _in_words(subject, refusals))
        return Found(subject.name, "missing", level or "", None, "`stoploss schemas push` registers it")
    if level != subject.compatibility:
        why = f"its level is {level or 'the default'}, not {subject.compatibility}; `stoploss schemas push` sets it"
        return Found(subject.name, "missing", level or "", schema_id, why)
    return Found(subject.name, "there", level, schema_id)


def _in_words(subject: Subject, refusals: list[str]) -> str:
    return (
        f"schemas/{subject.record}.avsc does not go with what is registered: {'; '.join(refusals)}. "
        f"{subject.compatibility}: {MEANING[subject.compatibility]}. Somebody registered another schema under this "
        f"name, or this one was changed: {WAY_OUT[subject.compatibility]}"
    )


def _show(rows: list[Found]) -> None:
    from rich.table import Table

    table = Table("subject", "state", "id", "compatibility", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(row.subject, row.state, "" if row.schema_id is None else str(row.schema_id), row.compatibility)
    output.show(table)
    for row in rows:
        if row.why:
            print(f"{row.subject}: {row.why}")

"""What differs between two versions of a spec, field by field, and whether that is what approvals were given for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stoploss.experiment import Experiment

DESCRIPTIVE = (
    "metadata.annotations",
    "spec.hypothesis",
    "spec.success.then",
    "spec.evidence",
    "spec.baselines",
    "spec.owners",
)
"""What may change without anybody having to approve anew; all else is scope, audience, stop rule or target."""
ABSENT = "nothing"
NOTHING_CHANGED = "nothing changed: the spec in force says the same"


def changed(before: Experiment, after: Experiment) -> list[tuple[str, Any, Any]]:
    """(field, value before, value after), in the order of the spec."""
    return list(_differences("", _tree(before), _tree(after)))


def fields(before: Experiment, after: Experiment) -> tuple[str, ...]:
    return tuple(field for field, _, _ in changed(before, after))


def voids(changed_fields: Sequence[str]) -> bool:
    """Whether approvals are lost with these changes.

    >>> voids(["spec.hypothesis"]), voids(["spec.hypothesis", "spec.guardrails[0].margin.relative"])
    (False, True)
    """
    return not all(field.startswith(DESCRIPTIVE) for field in changed_fields)


def _tree(experiment: Experiment) -> dict[str, Any]:
    tree: dict[str, Any] = experiment.model_dump(mode="json", by_alias=True)
    return tree


def _differences(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from _differences(f"{path}.{key}" if path else key, before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _differences(f"{path}[{index}]", _at(before, index), _at(after, index))
    else:
        yield path, before, after


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else None

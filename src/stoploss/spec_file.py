"""A YAML file to an Experiment, once, at the edge; every violation points at its line and field."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import ValidationError

from stoploss.errors import InvalidExperiment, Violation
from stoploss.experiment import Experiment
from stoploss.spec_rules import faults

LARGEST_SPEC_BYTES = 256 * 1024
DEEPEST_SPEC = 32
Path = tuple[str | int, ...]


def parse_experiment(text: str, name: str = "the spec") -> Experiment:
    """The experiment of a YAML text.

    Raises InvalidExperiment with all violations at once; `name` is what the message calls the file.
    """
    if len(text.encode()) > LARGEST_SPEC_BYTES:
        raise InvalidExperiment(name, [Violation(None, "file", f"larger than {LARGEST_SPEC_BYTES} bytes")])
    root = _compose(text, name)
    try:
        experiment = Experiment.model_validate(_plain(root))
    except ValidationError as error:
        raise InvalidExperiment(name, [_violation(root, item) for item in error.errors()]) from error
    if found := list(faults(experiment)):
        raise InvalidExperiment(name, [Violation(_line(root, path), _field(path), text) for path, text in found])
    return experiment


def _compose(text: str, name: str) -> yaml.Node:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InvalidExperiment(name, [Violation(line, "YAML", str(error.problem))]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidExperiment(name, [Violation(None, "YAML", str(error))]) from error
    if root is None:
        raise InvalidExperiment(name, [Violation(None, "file", "is empty; see examples/checkout-agent-model.yaml")])
    if fault := _unsafe(root, 0, set()):
        raise InvalidExperiment(name, [fault])
    return root


def _unsafe(node: yaml.Node, depth: int, above: set[int]) -> Violation | None:
    """Aliases that bite their own tail, nesting without end, and keys given twice (the last would win silently)."""
    line = node.start_mark.line + 1
    if depth > DEEPEST_SPEC or id(node) in above:
        return Violation(line, "YAML", f"is nested more than {DEEPEST_SPEC} deep")
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            return Violation(line, str(twice[0]), "stands twice in one mapping; keep one")
    below = [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value
    if isinstance(node, yaml.ScalarNode):
        return None
    return next((fault for child in below if (fault := _unsafe(child, depth + 1, above | {id(node)}))), None)


def _plain(root: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _violation(root: yaml.Node, item: Any) -> Violation:
    path: Path = tuple(item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "is no field of stoploss/v1alpha1; remove it, or correct its spelling"
    elif item["type"] == "missing":
        message = "is required"
    elif "input" in item and not isinstance(item["input"], (dict, list, tuple)):
        message = f"{message} (given: {item['input']!r})"
    return Violation(_line(root, path), _field(path), message)


def _field(path: Path) -> str:
    """('spec', 'guardrails', 1, 'metric') -> 'spec.guardrails[1].metric'."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "file"


def _line(root: yaml.Node, path: Path) -> int:
    """Line of the deepest part of the path that the file has."""
    node, line = root, root.start_mark.line + 1
    for part in path:
        found = _child(node, part)
        if found is None:
            break
        key, node = found
        line = key.start_mark.line + 1
    return line


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None

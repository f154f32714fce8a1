"""A YAML file to an Experiment, once, at the edge; every violation points at its line and field."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from stoploss.errors import InvalidExperiment, Violation
from stoploss.experiment import Experiment
from stoploss.spec.base import Part
from stoploss.spec.checks import faults

LARGEST_SPEC_BYTES = 256 * 1024
DEEPEST_SPEC = 32
MOST_NODES = 20_000
LONGEST_SHOWN = 80
LONGEST_NUMBER = 64
Path = tuple[str | int, ...]
Fault = tuple[Path, str]
M = TypeVar("M", bound=Part)
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_OF_A_TAG = (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError)
"""What yaml raises for a value that is not of the tag before it: `!!int ""`, `!!bool x`, `!!timestamp x`."""


def parse_experiment(text: str, name: str = "the spec") -> Experiment:
    """The experiment of a YAML text.

    Raises InvalidExperiment with all violations at once; `name` is what the message calls the file.
    """
    experiment, root = read_model(Experiment, text, name)
    if found := list(faults(experiment)):
        raise InvalidExperiment(name, violations_at(root, found))
    return experiment


@lru_cache(maxsize=4_096)
def parsed(spec: str) -> Experiment:
    """The experiment of a spec that was accepted; parsed once per process."""
    return parse_experiment(spec)


def read_model(kind: type[M], text: str, name: str) -> tuple[M, yaml.Node]:
    """A well-formed model of a YAML text, and the text's nodes, which know the lines."""
    if len(text.encode(errors="surrogatepass")) > LARGEST_SPEC_BYTES:
        raise InvalidExperiment(name, [Violation(None, "file", f"larger than {LARGEST_SPEC_BYTES} bytes")])
    root = _compose(text, name)
    try:
        return kind.model_validate(_plain(root, name)), root
    except ValidationError as error:
        raise InvalidExperiment(name, [_violation(root, item) for item in error.errors()]) from error


def violations_at(root: yaml.Node, found: Iterable[Fault]) -> list[Violation]:
    """Faults with the lines that they stand in."""
    return [Violation(_line(root, path), field_of(path), text) for path, text in found]


def violations_in(text: str, found: Iterable[Fault]) -> list[Violation]:
    """Faults of a text that was read before, with the lines that they stand in."""
    return violations_at(_compose(text, "the text"), found)


def node_at(text: str, path: Path) -> yaml.Node:
    """The node that a path leads to in a well-formed text; raises KeyError where it has none."""
    node = _compose(text, "the text")
    for part in path:
        found = _child(node, part)
        if found is None:
            raise KeyError(field_of(path))
        node = found[1]
    return node


def _compose(text: str, name: str) -> yaml.Node:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _broken(name, error) from error
    if root is None:
        raise InvalidExperiment(name, [Violation(None, "file", "is empty; see examples/checkout-agent-model.yaml")])
    if fault := _unsafe(root):
        raise InvalidExperiment(name, [fault])
    return root


def _unsafe(root: yaml.Node) -> Violation | None:
    """Aliases that multiply or bite their own tail, nesting without end, and keys given twice (the last would win)."""
    waiting, visited = [(root, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        visited += 1
        line = node.start_mark.line + 1
        if depth > DEEPEST_SPEC:
            return Violation(line, "YAML", f"is nested more than {DEEPEST_SPEC} deep")
        if visited > MOST_NODES:
            return Violation(
                line, "YAML", f"holds more than {MOST_NODES:,} values, aliases counted where they are used"
            )
        if fault := _key_fault(node) if isinstance(node, yaml.MappingNode) else _value_fault(node):
            return fault
        waiting += [(child, depth + 1) for child in reversed(_children(node))]
    return None


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _key_fault(node: yaml.MappingNode) -> Violation | None:
    known: set[str] = set()
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            return Violation(line, "YAML", "has a key that is no plain text")
        if key.value in known:
            return Violation(line, str(key.value), "stands twice in one mapping; keep one")
        if fault := _value_fault(key):
            return fault
        known.add(key.value)
    return None


def _value_fault(node: yaml.Node) -> Violation | None:
    """What no file of a later step could hold: an escape may spell half a character, and 0xfff… any number."""
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.ScalarNode):
        return None
    if any("\ud800" <= char <= "\udfff" for char in node.value):
        return Violation(line, "YAML", "holds half of a surrogate pair, which is no character")
    if node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
        size = len(node.value)
        return Violation(line, "YAML", f"holds a number of {size:,} digits; at most {LONGEST_NUMBER} are read")
    return None


def _plain(root: yaml.Node, name: str) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(root)
    except (yaml.YAMLError, *_OF_A_TAG) as error:
        raise _broken(name, error) from error
    finally:
        loader.dispose()


def _broken(name: str, error: Exception) -> InvalidExperiment:
    if isinstance(error, RecursionError):
        return InvalidExperiment(name, [Violation(None, "YAML", f"is nested more than {DEEPEST_SPEC} deep")])
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return InvalidExperiment(name, [Violation(mark.line + 1 if mark else None, "YAML", problem)])


def _violation(root: yaml.Node, item: Any) -> Violation:
    path: Path = tuple(item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "is no field of stoploss/v1alpha1; remove it, or correct its spelling"
    elif item["type"] == "missing":
        message = "is required"
    elif "input" in item and not isinstance(item["input"], (dict, list, tuple)):
        message = f"{message} (given: {_shown(item['input'])})"
    return Violation(_line(root, path), field_of(path), message)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def field_of(path: Path) -> str:
    """A path as people read it: ('spec', 'guardrails', 1, 'metric') -> 'spec.guardrails[1].metric'."""
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

"""docker-compose.yml, alone and under the file that makes it secure: merged as compose merges them.

The rules are those of https://docs.docker.com/reference/compose-file/merge/, as far as the two files need them; any
other case fails here instead of being merged in a way that compose does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PLAIN, SECURE = ROOT / "docker-compose.yml", ROOT / "deploy" / "secure" / "compose.yml"

Mapping = dict[str, Any]
REPLACED = {"command", "entrypoint", "test"}
"""Lists that say one thing: the later one counts."""
APPENDED = {"volumes", "secrets", "tmpfs"}
"""Lists of things of which the later file may name more."""


class Override(dict[str, Any]):
    """What `!override` stands before: nothing of the earlier file stays."""


class Loader(yaml.SafeLoader):
    pass


def _override(loader: Loader, node: yaml.MappingNode) -> Override:
    return Override(loader.construct_mapping(node, deep=True))


Loader.add_constructor("!override", _override)


def plain() -> Mapping:
    return _read(PLAIN)


def secure() -> Mapping:
    return merged(plain(), _read(SECURE))


def _read(path: Path) -> Mapping:
    found: Mapping = yaml.load(path.read_text(), Loader)
    return found


def merged(earlier: Mapping, later: Mapping) -> Mapping:
    return {**earlier, **{name: _one(name, earlier.get(name), value) for name, value in later.items()}}


def _one(name: str, before: Any, value: Any) -> Any:
    if isinstance(value, Override):
        return dict(value)
    if isinstance(value, dict) and before is not None:
        return merged(before, value)
    if isinstance(value, list) and before is not None and name not in REPLACED:
        assert name in APPENDED, f"how compose merges lists of {name} is not known here"
        assert not {_target(one) for one in before} & {_target(one) for one in value}, f"{name}: said twice"
        return [*before, *value]
    return value


def _target(entry: str) -> str:
    """By which compose tells what is the same of two mounts."""
    return entry.split(":")[1] if ":" in entry else entry

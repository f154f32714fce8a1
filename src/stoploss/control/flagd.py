"""The actuator that writes an OpenFeature flag file as flagd and its in-process providers read it.

The file holds many flags; those of others are left as they are. Source: flagd's flag definition schema, v0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stoploss.commands import Command
from stoploss.control.files import locked, replace_file, stamp_again
from stoploss.control.targeting import Json, targeting
from stoploss.emit.assignment import NEEDS_CONSENT
from stoploss.errors import CommandRefused, ConfigurationError

SCHEMA_URL = "https://flagd.dev/schema/v0/flags.json"


class FlagdFile:
    """Keeps the flags of experiments in one file that is replaced whole, so that no reader sees half of it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def apply(self, command: Command) -> None:
        """The file says what the command desires, durably, when this returns.

        Raises ConfigurationError where the file is no flag file, CommandRefused where the flag serves another
        experiment, OSError where it cannot be written.
        """
        with locked(self._path):
            document = _read(self._path)
            flags = document.setdefault("flags", {})
            flags[command.flag] = flag_for(command, flags.get(command.flag, {}))
            replace_file(self._path, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n", mode=0o644)
        stamp_again(self._path)

    def describe(self, command: Command) -> str:
        """What `apply` would write for the flag, and where; raises what it would raise."""
        flag = flag_for(command, _read(self._path).get("flags", {}).get(command.flag, {}))
        return f"{self._path}: {command.flag} = {json.dumps(flag, indent=2, ensure_ascii=False)}"


def flag_for(command: Command, before: Json) -> Json:
    """The flag's definition: the variants' values and foreign entries stay as they were, the rest is the command's."""
    _check_owner(command, before.get("metadata", {}))
    flag = {
        **before,
        "state": "ENABLED",
        "variants": {name: name for name in _variants(command)} | before.get("variants", {}),
        "defaultVariant": command.release_variant,
        "metadata": before.get("metadata", {}) | _metadata(command),
    }
    rule = targeting(command)
    if rule is None:
        return {key: value for key, value in flag.items() if key != "targeting"}
    return {**flag, "targeting": rule}


def _variants(command: Command) -> tuple[str, ...]:
    return tuple(dict.fromkeys((command.control_variant, command.treatment_variant, command.release_variant)))


def _metadata(command: Command) -> Json:
    """Comes back with every evaluation: services stamp run and epoch on their assignments with it. OpenTelemetry's
    hooks for OpenFeature record the version alone."""
    return {
        "experiment": command.experiment,
        "run": command.run,
        "epoch": command.epoch,
        "version": f"{command.run}.{command.epoch}",
        "exposure": command.exposure,
        "command_id": command.command_id,
        "sequence": command.sequence,
        NEEDS_CONSENT: command.needs_consent,
    }


def _check_owner(command: Command, metadata: Json) -> None:
    owner = metadata.get("experiment", command.experiment)
    if owner != command.experiment and metadata.get("exposure"):
        raise CommandRefused(
            f"flag {command.flag!r} serves the experiment {owner!r} at exposure {metadata['exposure']}; "
            "stop that experiment first, or use another flag"
        )


def _read(path: Path) -> Json:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {"$schema": SCHEMA_URL, "flags": {}}
    except ValueError as error:
        raise ConfigurationError(
            f"the flag file {path} is no JSON ({error}) and is left as it is; repair it or move it away"
        ) from error
    if not _is_flag_file(document):
        raise ConfigurationError(
            f"the flag file {path} is JSON but no flag file and is left as it is; "
            'it must be an object with "flags": {name: {…}}'
        )
    return document  # type: ignore[no-any-return]


def _is_flag_file(document: Any) -> bool:
    flags = document.get("flags", {}) if isinstance(document, dict) else None
    return isinstance(flags, dict) and all(isinstance(flag, dict) for flag in flags.values())

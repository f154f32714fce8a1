"""init, settings, and what `--version --json` tells."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from stoploss import __version__
from stoploss.cli import addresses, output
from stoploss.errors import ConfigurationError
from stoploss.resources import data_path
from stoploss.settings import PREFIX, Settings, in_file, settings_file, variable, without_secrets
from stoploss.settings_reference import every_setting, file_text, written

PRICES = "prices.yaml"
CLIENTS = ("confluent-kafka", "faust-streaming", "aiokafka", "clickhouse-connect", "polars", "numpy", "scipy", "river")
"""Packages whose versions tell most of a fault."""
EXTRAS = {"embedded": "chdb", "console": "starlette", "openfeature": "openfeature-sdk", "notify": "apprise"}
"""Extra of stoploss -> the package by which it is known to be there."""


# ---- files to begin with ---------------------------------------------------------------------------


def init() -> None:
    """Writes all files or, where one of them is there, none; raises ConfigurationError then."""
    files = {
        "experiment.yaml": data_path("examples", "start", "experiment.yaml").read_text(encoding="utf-8"),
        PRICES: data_path("deploy", PRICES).read_text(encoding="utf-8"),
        ".env": file_text({"prices": PRICES}),
    }
    there = [name for name in files if os.path.lexists(name)]
    if there:
        raise ConfigurationError(
            f"{', '.join(there)}: already here, and nothing is written over; move it away, or begin somewhere else"
        )
    for name, text in files.items():
        with Path(name).open("x", encoding="utf-8") as file:
            file.write(text)
    print("written: experiment.yaml, what is tried and when to stop; prices.yaml, what models cost; .env, settings")
    print("next: `stoploss check experiment.yaml`, `stoploss up`, then `stoploss register experiment.yaml`")


# ---- what is set -----------------------------------------------------------------------------------


def settings(as_json: bool) -> None:
    """Raises ConfigurationError where a setting is wrong."""
    found = addresses.resolved()
    rows = [
        {"setting": one.variable, "value": _shown(getattr(found, one.name)), "from": _source(found, one.name)}
        for one in every_setting()
    ]
    unknown = sorted(name for name in os.environ if _is_unknown(name))
    if as_json:
        output.print_json({"settings": rows, "unknown": unknown})
        return
    _show_table(rows)
    for name in unknown:
        print(f"{name} is in the environment, and no setting is named so")


def _show_table(rows: list[dict[str, str]]) -> None:
    from rich.table import Table

    table = Table("setting", "value", "from", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*row.values())
    output.show(table)


def _shown(value: Any) -> str:
    """As one would write it, without secrets."""
    if isinstance(value, SecretStr):
        return "(hidden)"
    text = written(value)
    return without_secrets(text) if text.startswith(("http://", "https://")) else text


def _source(found: Settings, name: str) -> str:
    if variable(name) in {key.upper() for key in os.environ}:
        return "flag or environment"
    file = settings_file()
    if name in in_file(file):
        return str(file)
    return "stoploss up" if name in found.model_fields_set else "default"


def _is_unknown(name: str) -> bool:
    internal = {"SETTINGS", "OWNED"}
    ours = name.upper().removeprefix(PREFIX)
    return name.upper().startswith(PREFIX) and ours not in internal and ours.lower() not in Settings.model_fields


# ---- versions --------------------------------------------------------------------------------------


def versions() -> dict[str, Any]:
    """What a report of a fault should say."""
    return {
        "stoploss": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in CLIENTS},
        "extras": [extra for extra, package in EXTRAS.items() if _version(package)],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

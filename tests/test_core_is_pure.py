"""The core has no clock, no chance and no client: read in its source, and seen in a process that imports it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stoploss

ROOT = Path(stoploss.__file__).parent
CORE = (
    "stats",
    "rules",
    "segments",
    "running",
    "arrays",
    "measured",
    "ledger",
    "journal",
    "commands",
    "lifecycle",
    "monitor",
    "state",
    "counting",
    "decisions",
    "folding",
    "outputs",
    "units",
    "measures",
    "registry",
    "evidence",
    "experiment",
    "metrics",
    "objective_sentences",
    "recommendation",
    "sentences",
    "snapshot",
    "spec",
    "watch_sentences",
    "blind",
    "canary",
    "sight",
    "watching",
    "governance",
    "policy",
)
CLIENTS = {
    "confluent_kafka",
    "aiokafka",
    "faust",
    "clickhouse_connect",
    "polars",
    "pyarrow",
    "aiohttp",
    "chdb",
    "requests",
    "socket",
    "asyncio",
    "threading",
}
UNREPEATABLE = {"time", "random", "secrets", "uuid", "pickle", "os"}


def files() -> list[Path]:
    modules = [ROOT / f"{name}.py" for name in CORE if (ROOT / f"{name}.py").exists()]
    return modules + [path for name in CORE for path in sorted((ROOT / name).glob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_every_name_of_the_core_is_a_module() -> None:
    assert [name for name in CORE if not (ROOT / f"{name}.py").exists() and not (ROOT / name).is_dir()] == []
    assert len(files()) > 40


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_no_client_no_clock_and_no_chance(path: Path) -> None:
    assert imported(path) & (CLIENTS | UNREPEATABLE) == set()


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_reads_no_clock_and_no_chance_by_attribute(path: Path) -> None:
    """`datetime.now`, `np.random` and their like come in through modules that are allowed."""
    banned = {"now", "utcnow", "today", "random", "default_rng", "urandom", "environ", "getenv"}
    used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert used & banned == set()


def test_a_process_that_judges_has_loaded_no_client() -> None:
    code = "import sys, stoploss.monitor, stoploss.snapshot; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    clients = CLIENTS - {"socket", "asyncio", "threading", "requests"}
    assert set(ran.stdout.split()) & clients == set()

"""The wheel: what the code reads is inside, and it works where no checkout is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
SHIPPED = {"schemas": "schemas", "examples": "examples", "grafana": "grafana"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files as they are now."""
    out = tmp_path_factory.mktemp("wheel")
    run(ROOT, sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out))
    (built,) = out.glob("*.whl")
    return built


def run(where: Path, *command: str) -> str:
    """What the command printed, in an environment that knows nothing of this one."""
    hidden = ("STOPLOSS_", "PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, env=environment, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


def data_files() -> list[str]:
    """Names, in the wheel, of all files that are no code: those of the package, and those shipped beside it."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "src/stoploss", *SHIPPED]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    found = [name for name in filter(None, names) if not name.endswith(".py") and (ROOT / name).is_file()]
    return [
        name.removeprefix("src/") if name.startswith("src/") else f"stoploss/_data/{name}"
        for name in [*found, "deploy/prices.yaml"]
    ]


def test_schemas_sql_templates_dashboards_and_examples_are_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = data_files()
    for ending in (".avsc", ".sql", ".html", ".css", ".js", ".json", ".yaml"):
        assert any(name.endswith(ending) for name in wanted)
    assert sorted(set(wanted) - inside) == []


def test_no_test_and_nothing_built_is_in_the_wheel(wheel: Path) -> None:
    inside = zipfile.ZipFile(wheel).namelist()
    assert [name for name in inside if "/tests/" in f"/{name}" or name.endswith((".pyc", ".lock"))] == []
    assert {name.split("/")[0] for name in inside if ".dist-info" not in name} == {"stoploss", "streams"}


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_demo_runs_from_the_wheel_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed as a user would, at the locked versions; the only code of stoploss is the wheel's."""
    venv, work = tmp_path / "venv", tmp_path / "work"
    work.mkdir()
    run(work, str(UV), "venv", "--quiet", "--python", str(Path(sys.base_prefix) / "bin" / "python3.11"), str(venv))
    lock = str(ROOT / "requirements" / "dev.lock")
    wanted = f"stoploss[embedded] @ {wheel.as_uri()}"
    run(work, str(UV), "pip", "install", "--quiet", "--python", str(venv / "bin" / "python"), "-c", lock, wanted)
    stoploss = str(venv / "bin" / "stoploss")

    assert json.loads(run(work, stoploss, "--version", "--json"))["extras"] == ["embedded", "openfeature"]
    run(work, stoploss, "init")
    assert "well-formed" in run(work, stoploss, "check", "experiment.yaml")
    shown = run(work, stoploss, "demo", "--traces", "3000", "--seconds", "12")
    assert re.search(r"rollback +support-agent-prompt", shown)
    assert "byte for byte" in shown

"""The wheel: what the code reads is inside, the image can build it, and it works where no checkout is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
HATCH = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
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


# ---- the image -----------------------------------------------------------------------------------


def copied_before_the_build() -> list[tuple[list[str], str]]:
    """Sources and target of each COPY from the project, up to the line that builds the wheel."""
    before, built, _ = DOCKERFILE.read_text().partition("hatchling build")
    assert built
    lines = [line.split()[1:] for line in before.splitlines() if line.startswith("COPY ") and "--from" not in line]
    return [(sources, target) for *sources, target in lines]


def ignored(name: str) -> bool:
    """Whether Docker leaves a file out of what it may copy. Only the two forms of pattern that the file has."""
    patterns = Path(f"{DOCKERFILE}.dockerignore").read_text().split()
    assert not [pattern for pattern in patterns if re.search(r"[!?\[#]|(?<!\*)\*(?!\*)", pattern)]
    anywhere = {pattern.removeprefix("**/") for pattern in patterns if pattern.startswith("**/")}
    return any(f"{name}/".startswith(f"{pattern}/") for pattern in patterns) or bool(anywhere & set(name.split("/")))


def lay_out(folder: Path) -> None:
    """What the Dockerfile copies, and nothing else, under the names that it gives."""
    for sources, target in copied_before_the_build():
        for source in sources:
            to = folder / target / (Path(source).name if target.endswith("./") else "")
            files = [path for path in [ROOT / source, *(ROOT / source).rglob("*")] if path.is_file()]
            for path in files:
                if not ignored(path.relative_to(ROOT).as_posix()):
                    place = to / path.relative_to(ROOT / source)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, place)


def test_the_image_is_given_all_that_the_wheel_is_made_of() -> None:
    given = [source.rstrip("/") for sources, _ in copied_before_the_build() for source in sources]
    for needed in [*HATCH["force-include"], *HATCH["packages"]]:
        assert not ignored(needed)
        assert any(f"{needed}/".startswith(f"{source}/") for source in given), needed


def test_the_wheel_of_the_image_holds_what_the_projects_holds(wheel: Path, tmp_path: Path) -> None:
    lay_out(tmp_path / "build")
    run(tmp_path / "build", sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheels"))
    (built,) = (tmp_path / "wheels").glob("*.whl")
    assert sorted(zipfile.ZipFile(built).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


# ---- installed -----------------------------------------------------------------------------------


def installed(wheel: Path, where: Path, *constraints: str) -> str:
    """The program, in an environment that holds it with the embedded parts and nothing else, as pipx makes one."""
    venv = where / "venv"
    run(where, str(UV), "venv", "--quiet", "--python", str(Path(sys.base_prefix) / "bin" / "python3.11"), str(venv))
    wanted = f"stoploss[embedded] @ {wheel.as_uri()}"
    run(where, str(UV), "pip", "install", "--quiet", "--python", str(venv / "bin" / "python"), *constraints, wanted)
    return str(venv / "bin" / "stoploss")


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_demo_runs_from_the_wheel_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed as a user would, at the locked versions; the only code of stoploss is the wheel's."""
    stoploss = installed(wheel, tmp_path, "-c", str(ROOT / "requirements" / "dev.lock"))
    assert json.loads(run(tmp_path, stoploss, "--version", "--json"))["extras"] == ["embedded", "openfeature"]
    run(tmp_path, stoploss, "init")
    assert "well-formed" in run(tmp_path, stoploss, "check", "experiment.yaml")
    shown = run(tmp_path, stoploss, "demo", "--traces", "3000", "--seconds", "12")
    assert re.search(r"rollback +support-agent-prompt", shown)
    assert "byte for byte" in shown


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_newest_versions_that_the_package_allows_are_installed_and_work(wheel: Path, tmp_path: Path) -> None:
    """Without the lock, as `pipx install 'stoploss[embedded]'` does it: docs/installation.md."""
    stoploss = installed(wheel, tmp_path)
    assert json.loads(run(tmp_path, stoploss, "--version", "--json"))["extras"] == ["embedded", "openfeature"]
    run(tmp_path, stoploss, "init")
    assert "well-formed" in run(tmp_path, stoploss, "check", "experiment.yaml")

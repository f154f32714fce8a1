"""The README: its two commands are run in a fresh copy of the checkout, its YAML as it stands there.

tests/test_documents_run.py holds its other commands to what the program has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stoploss.spec.file import parse_experiment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^(make [a-z]+)$", README, re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git would clone, as they are now, somewhere else."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    target = tmp_path_factory.mktemp("checkout")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def run(checkout: Path, *command: str) -> str:
    """What the command printed; the test fails with it where the command fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOPLOSS_")}
    done = subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, env=environment, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


def test_the_readme_names_its_two_commands() -> None:
    assert COMMANDS[:2] == ["make demo", "make test"]


def test_make_demo_sets_everything_up_and_runs_the_main_job(checkout: Path) -> None:
    shown = run(checkout, "make", "demo", f"PYTHON={base_python()}", "DEMO=--traces 3000 --seconds 12")
    assert "3,000" in shown
    assert "rollback" in shown
    assert "byte for byte" in shown


def test_make_test_runs_the_checks_and_the_tests(checkout: Path) -> None:
    shown = run(checkout, "make", "test", f"PYTHON={base_python()}", "TESTS=tests/test_signing.py")
    assert re.search(r"\d+ passed", shown)


def base_python() -> str:
    """The interpreter that made this environment: what a newcomer has."""
    return str(Path(sys.base_prefix) / "bin" / "python3.11")


def test_the_smallest_yaml_is_a_valid_experiment() -> None:
    (text,) = blocks("yaml")
    assert parse_experiment(text).control.name == "current"


def test_the_readme_is_one_screen_and_pictures() -> None:
    lines = [line for line in README.splitlines() if line and not line.startswith(("![", "<!--"))]
    assert len(lines) <= 60
    assert README.count("![") == 2

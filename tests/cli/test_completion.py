"""Completion in a real bash: the lines of docs/settings.md are read by it, and it is asked as Tab asks it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"
LINES = re.findall(r"^_STOPLOSS_COMPLETE=(source_\w+) stoploss > (\S+)$", DOCUMENT.read_text(), re.MULTILINE)
BASH = shutil.which("bash")

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
handler=$(complete -p stoploss | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$handler" stoploss
printf '%s\\n' "${COMPREPLY[@]}"
"""


def run(*command: str, home: Path, **environment: str) -> str:
    """As in a new shell, with the program of this environment first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"HOME": str(home), "PATH": path, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=given, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written by the document's own line for bash."""
    home = tmp_path_factory.mktemp("completion")
    (file,) = (target for source, target in LINES if source == "source_bash")
    path = home / file.removeprefix("~/")
    path.parent.mkdir(parents=True)
    run(str(BASH), "-c", f"_STOPLOSS_COMPLETE=source_bash stoploss > {file}", home=home)
    return path


def completed(script: Path, *words: str) -> list[str]:
    return run(str(BASH), "--norc", "-c", ASK, "bash", str(script), *words, home=script.parent).split()


def test_bash_completes_a_command_and_its_options(script: Path) -> None:
    assert completed(script, "stoploss", "appr") == ["approve"]
    assert completed(script, "stoploss", "re") == [
        "register", "resume", "reject", "reviewed", "review", "replay", "retention",
    ]  # fmt: skip
    assert completed(script, "stoploss", "approve", "--up") == ["--up-to"]
    assert completed(script, "stoploss", "approve", "checkout", "--for", "pri") == ["privacy"]


def test_the_document_has_a_line_for_each_shell_and_each_gives_a_script(tmp_path: Path) -> None:
    assert [source for source, _ in LINES] == ["source_bash", "source_zsh", "source_fish"]
    for source, _ in LINES:
        script = run("stoploss", home=tmp_path, _STOPLOSS_COMPLETE=source)
        assert f"_STOPLOSS_COMPLETE={source.replace('source', 'complete')}" in script

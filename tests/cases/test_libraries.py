"""X7: each export is read by the real library of its format, evaluated by it, and its result is read back here."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stoploss.cases.formats import exported
from stoploss.cases.model import Case
from stoploss.cases.results import read_results
from tests.cases.evidence import OUTPUT, several

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "evals.lock"
UV = Path(sys.executable).with_name("uv")
FILES = {"inspect": "inspect.jsonl", "deepeval": "deepeval.json", "openai": "openai.jsonl"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with the locked libraries: made once per lock, and kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stoploss"
    home = cache / f"evals-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if not (home / ".installed").exists():
        subprocess.run([UV, "venv", "--quiet", "--clear", "--python", sys.executable, home], check=True)
        install = [UV, "pip", "sync", "--quiet", "--require-hashes", "--python", home / "bin" / "python", LOCK]
        subprocess.run(install, check=True, timeout=600)
        (home / ".installed").touch()
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def cases() -> tuple[Case, ...]:
    return several()


@pytest.fixture(scope="module")
def folder(python: Path, cases: tuple[Case, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the libraries have read the exports and written their results; the first case passed."""
    folder = tmp_path_factory.mktemp("evaluated")
    for form, name in FILES.items():
        (folder / name).write_text(exported(cases, form))  # type: ignore[arg-type]
    quiet = {"PATH": os.environ["PATH"], "HOME": str(folder), "DEEPEVAL_TELEMETRY_OPT_OUT": "YES"}
    script = Path(__file__).with_name("libraries.py")
    done = subprocess.run(
        [python, script, folder, cases[0].case_id], cwd=folder, env=quiet, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def read(folder: Path) -> Any:
    return json.loads((folder / "read.json").read_text())


@pytest.mark.slow
def test_inspect_reads_the_samples_as_they_were_meant(read: Any, cases: tuple[Case, ...]) -> None:
    samples = read["inspect"]["samples"]
    assert [(one["id"], one["input"], one["target"]) for one in samples] == [
        (case.case_id, case.input, case.criterion) for case in cases
    ]
    assert [one["metadata"]["failing_output"] for one in samples] == [case.failing_output for case in cases]


@pytest.mark.slow
def test_deepeval_reads_the_goldens_without_any_expected_answer(read: Any, cases: tuple[Case, ...]) -> None:
    goldens = read["deepeval"]["goldens"]
    assert [(one["name"], one["input"]) for one in goldens] == [(case.case_id, case.input) for case in cases]
    assert {(one["expected_output"], one["actual_output"]) for one in goldens} == {(None, None)}
    assert goldens[0]["additional_metadata"]["failing_output"] == OUTPUT


@pytest.mark.slow
def test_openais_client_takes_the_lines_as_a_data_source(read: Any, cases: tuple[Case, ...]) -> None:
    assert [item["case_id"] for item in read["openai"]["items"]] == [case.case_id for case in cases]


@pytest.mark.slow
@pytest.mark.parametrize(("form", "subject"), [("inspect", "mockllm/model"), ("deepeval", "small-2")])
def test_what_the_library_writes_comes_back_as_a_result(
    folder: Path, read: Any, cases: tuple[Case, ...], form: Any, subject: str
) -> None:
    (file,) = (folder / form).glob("*.json")
    found = read_results(file.read_bytes(), form, file.name)
    assert found.subject == subject
    assert found.passed == (cases[0].case_id,)
    assert set(found.failed) == {case.case_id for case in cases[1:]}
    assert found.undecided == 0

"""The code in docs/adapters.md is run as it stands there; only addresses lead to nobody."""

from __future__ import annotations

import json
import re
import shlex
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext

from stoploss import control
from stoploss.control.adapter.command_names import COMMAND_NAMES
from stoploss.control.adapter.parsing import parse_adapter, recipes
from stoploss.control.adapter.signed import signature_headers
from stoploss.control.adapter.spec import Adapter, Request
from stoploss.control.keys import create_keys
from tests.cli.conftest import Program

DOCS = Path(__file__).parents[1] / "docs"
ADAPTERS = (DOCS / "adapters.md").read_text()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Program:
    return Program(monkeypatch, capfd, tmp_path)


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document, re.DOTALL)


def block(document: str, containing: str) -> str:
    """The one Python block with these words, leading to nobody."""
    (found,) = [text for text in blocks(document, "python") if containing in text]
    return found.replace("127.0.0.1:9092", "127.0.0.1:1")


def test_the_adapter_of_the_document_is_one() -> None:
    (text,) = blocks(ADAPTERS, "yaml")
    assert parse_adapter(text).name == "gateway"


def test_the_document_has_every_recipe_every_name_and_every_field() -> None:
    assert [name for name in recipes() if f"| `{name}` |" not in ADAPTERS] == []
    units = {f"{arm}_{unit}" for arm in ("treatment", "control") for unit in ("percent", "permille", "per_100000")}
    assert [name for name in COMMAND_NAMES - units if f"`{name}`" not in ADAPTERS] == []
    fields = {info.alias or name for model in (Adapter, Request) for name, info in model.model_fields.items()}
    assert [name for name in fields if not re.search(rf"\b{name}\b", ADAPTERS)] == []


def test_the_commands_that_try_a_recipe_run(program: Program, tmp_path: Path) -> None:
    lines = [line.partition("#")[0].strip() for line in ADAPTERS.splitlines() if line.startswith("stoploss adapter ")]
    for line in lines:
        words = shlex.split(line.removeprefix("stoploss "))
        if ">" in words:
            (tmp_path / words.pop()).write_text(program(*words[:-1]).out)
        else:
            assert program(*words).code == 0
    assert len(lines) == 3
    assert (tmp_path / "launchdarkly.yaml").read_text() == recipes()["launchdarkly"].read_text()


def test_the_receiver_of_the_document_acts_once_on_a_signed_request() -> None:
    acted: list[tuple[Any, ...]] = []
    names: dict[str, Any] = {
        "json": json,
        "seen": set(),
        "gateway": SimpleNamespace(set=lambda *state: acted.append(state)),
    }
    exec(block(ADAPTERS, "def hook"), names)
    body = json.dumps({"flag": "f", "treatment_variant": "small", "exposure": 0.1, "stopped_segments": []}).encode()
    for at_s in (1_000, 1_002):
        names["hook"](signature_headers("c-1-1", body, "secret", at_s), body, "secret", at_s)
    assert acted == [("f", "small", 0.1, [])]


def test_the_controller_of_the_document_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Told to stop before it begins: tests/control/test_obey.py has it obey."""
    monkeypatch.chdir(tmp_path)
    create_keys(tmp_path)
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr(control, "obey", partial(control.obey, stop=stop))
    exec(block(ADAPTERS, "class Gateway"), {"gateway": SimpleNamespace()})


def test_the_provider_of_the_document_serves_the_default_while_nobody_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    create_keys(tmp_path)
    monkeypatch.setattr("stoploss.openfeature.READY_WITHIN_S", 0.0)
    names: dict[str, Any] = {"api": api, "Path": Path, "EvaluationContext": EvaluationContext}
    exec(block(ADAPTERS, "StoplossProvider("), names)
    assert names["details"].value == "current"
    api.clear_providers()

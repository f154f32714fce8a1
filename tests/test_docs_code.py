"""The code in docs/adapters.md and docs/sdk.md is run as it stands there; only addresses lead to nobody."""

from __future__ import annotations

import asyncio
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
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from stoploss import control
from stoploss.control.adapter.command_names import COMMAND_NAMES
from stoploss.control.adapter.parsing import parse_adapter, recipes
from stoploss.control.adapter.signed import signature_headers
from stoploss.control.adapter.spec import Adapter, Request
from stoploss.control.keys import create_keys
from stoploss.emit import Tracer
from stoploss.wire import schemas
from stoploss.wire.json_records import read_json
from tests.cli.conftest import Program

DOCS = Path(__file__).parents[1] / "docs"
ADAPTERS = (DOCS / "adapters.md").read_text()
SDK = (DOCS / "sdk.md").read_text()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Program:
    return Program(monkeypatch, capfd, tmp_path)


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document, re.DOTALL)


def leading_nowhere(code: str) -> str:
    return code.replace("127.0.0.1:9092", "127.0.0.1:1")


def block(document: str, containing: str) -> str:
    """The one Python block with these words, leading to nobody."""
    (found,) = [text for text in blocks(document, "python") if containing in text]
    return leading_nowhere(found)


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


# ---- docs/sdk.md ---------------------------------------------------------------------------------------

ANSWER = SimpleNamespace(model="small-1", tokens_in=900, tokens_out=120, usd=0.002, text="on its way")
FLAG = InMemoryFlag("small", {"small": "small"}, flag_metadata={"experiment": "checkout-agent-model", "run": 1})


async def answered(_: str) -> SimpleNamespace:
    return ANSWER


def test_the_code_of_the_sdk_page_runs_from_top_to_bottom() -> None:
    api.set_provider_and_wait(InMemoryProvider({"checkout-agent-model": FLAG}))
    names: dict[str, Any] = {
        "ask_the_model": lambda _: ANSWER,
        "ask_the_model_async": answered,
        "question": "where is my order?",
    }
    for code in blocks(SDK, "python"):
        exec(leading_nowhere(code), names)
    assert asyncio.run(names["handle"]("u-1", "why")) == "on its way"
    tracer = names["tracer"]
    assert isinstance(tracer, Tracer)
    assert not tracer.stats.invalid
    assert tracer.stats.assignments == {("checkout-agent-model", "small"): 2}
    assert tracer.stats.recorded == 3 + 6
    assert names["variant"] == "small"
    api.clear_hooks()
    api.clear_providers()
    tracer.close(0.1)


def test_the_json_of_the_sdk_page_reads_as_a_trace() -> None:
    (text,) = blocks(SDK, "json")
    trace = read_json(text.encode(), "trace")
    assert (trace["unit_id"], trace["assignments"][0]["epoch"]) == ("u-4711", 3)
    assert trace["attributes"] == [{"key": "plan", "value": "free"}]


def test_the_fields_that_the_sdk_page_calls_required_are_the_ones_without_a_default() -> None:
    fields = schemas.schema("trace").source["fields"]
    assert [field["name"] for field in fields if "default" not in field] == ["trace_id", "at"]

"""Every block of code in README and docs/ is run, or checked by what it is; what cannot be says why, in the document.

A comment before a block tells what it is, where the block does not: `<!-- of: Policy -->` a part of a policy, `<!-- of:
values -->` of the chart's values, and `<!-- not run: why -->`. Without one, YAML that is no whole file is a part of an
experiment. A block of `text` is never code, so it says why it is there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import pytest
import yaml
from openfeature import api
from typer.core import TyperGroup
from typer.main import get_command

from stoploss import cli
from stoploss.control.alert_routes import parse_routes
from stoploss.emit import Tracer
from stoploss.emit.lease import LeaseReader
from stoploss.governance.roles import parse_roles
from stoploss.otlp.prices import PriceTable
from stoploss.policy.file import parse_policy
from stoploss.settings import Settings, known_name
from stoploss.spec.file import parse_experiment
from tests.governance.people import KEYS, raw_text

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"(?:^<!-- (not run|of): ([^\n]+?) -->\n+)?^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
)
EXECUTED = {"init", "settings", "check", "keys"}
"""Commands that need no installation."""
RUN_BY = {"adapters": "test_docs_code.py", "sdk": "test_docs_code.py"}
"""Documents whose blocks need more around them than this file gives: the test that runs them."""
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
PROFILES = {name for service in SERVICES for name in service.get("profiles", ())}


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a document, and what the comment before it says."""

    document: str
    number: int
    language: str
    text: str
    mark: str
    said: str

    def __str__(self) -> str:
        return f"{self.document}-{self.number}-{self.language or 'bare'}"


DOCUMENTS = [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.stem not in RUN_BY)]


def blocks() -> Iterator[Block]:
    for path in DOCUMENTS:
        for number, found in enumerate(FENCE.finditer(path.read_text()), start=1):
            mark, said, _, language, text = found.groups()
            yield Block(path.stem, number, language, textwrap.dedent(text), mark or "", said or "")


BLOCKS = list(blocks())
RUN = [block for block in BLOCKS if block.mark != "not run"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader stands: the examples, what `stoploss init` wrote, and a home of their own."""
    for name in [name for name in os.environ if name.startswith("STOPLOSS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STOPLOSS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for example in (ROOT / "examples").glob("*.yaml"):
        shutil.copy(example, tmp_path)
    return tmp_path


# ---- the shell ---------------------------------------------------------------------------------------


def lines_of(block: Block) -> list[str]:
    """Its commands: all lines of `sh`, and those behind `$ ` of `console`."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def stoploss(arguments: list[str]) -> None:
    """Given to the real command line. It is run where that needs no installation, else read to its last argument."""
    group = cast(TyperGroup, get_command(cli.app))
    words = [word for word in arguments if not word.startswith("-")]
    if not words or words[0] not in EXECUTED:
        _disarm(group)
    with pytest.raises(SystemExit) as ended:
        group.main(args=arguments, prog_name="stoploss")
    assert not ended.value.code, f"stoploss {shlex.join(arguments)}"


def _disarm(group: Any) -> None:
    for command in group.commands.values():
        command.callback = lambda **_: None
        if hasattr(command, "commands"):
            _disarm(command)


def assigned(word: str) -> None:
    name, _, value = word.partition("=")
    if name.startswith("STOPLOSS_"):
        field = known_name(name.removeprefix("STOPLOSS_").lower(), "the document")
        Settings(**{field: value})  # type: ignore[arg-type]


def make(arguments: list[str]) -> None:
    assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), arguments


def install(arguments: list[str]) -> None:
    """pip, pipx and uv: the package with parts that it has, and a constraint that is a file of the project."""
    assert "install" in arguments[:2]
    given = {after for word, after in pairwise(arguments) if word == "--constraint"}
    assert all((ROOT / name).is_file() for name in given)
    (what,) = [word for word in arguments if word.startswith("stoploss")]
    asked = re.fullmatch(r"stoploss(?:\[([a-z,]+)\])?", what)
    assert asked is not None
    assert set(filter(None, (asked.group(1) or "").split(","))) <= EXTRAS.keys()


def docker(arguments: list[str]) -> None:
    assert arguments[0] == "compose"
    assert {after for word, after in pairwise(arguments) if word == "--profile"} <= PROFILES
    assert arguments[-1] in ("up", "down", "pull")


def copied(arguments: list[str]) -> None:
    assert (ROOT / arguments[0]).is_file(), arguments


PROGRAMS: Mapping[str, Callable[[list[str]], None]] = {
    "stoploss": stoploss,
    "make": make,
    "pip": install,
    "pipx": install,
    "uv": install,
    "docker": docker,
    "cp": copied,
}


def require_shell(block: Block, folder: Path) -> None:
    assert lines_of(block), "a block without commands is `text`"
    for line in lines_of(block):
        words = shlex.split(line, comments=True)
        if words[:1] == ["export"]:
            words = words[1:]
        while words and re.match(r"[A-Z_]+=", words[0]):
            assigned(words.pop(0))
        if words:
            program = Path(words[0]).name
            assert program in PROGRAMS, f"{program}: check it here, or say before the block why it is not run"
            PROGRAMS[program](words[1:])


# ---- files -------------------------------------------------------------------------------------------


def laid_over(base: Any, part: Any) -> Any:
    """The part in its place in a whole file; lists are replaced."""
    if not (isinstance(base, dict) and isinstance(part, dict)):
        return part
    return base | {name: laid_over(base.get(name), value) for name, value in part.items()}


def whole(path: Path, part: Any) -> str:
    base = yaml.safe_load(path.read_text())
    placed = part if {"spec", "metadata"} & part.keys() else {"spec": part}
    return yaml.safe_dump(laid_over(base, placed), sort_keys=False)


def a_policy(text: str) -> str:
    head = {"apiVersion": "stoploss/v1alpha1", "kind": "Policy", "metadata": {"name": "p", "owner": "o"}}
    return yaml.safe_dump(laid_over(head | {"spec": {"riskClasses": {"medium": {}}}}, yaml.safe_load(text)))


def require_yaml(block: Block, folder: Path) -> None:
    content = yaml.safe_load(block.text)
    kind = block.said or content.get("kind", "Experiment")
    if kind == "Experiment":
        example = folder / "checkout-agent-model.yaml"
        parse_experiment(block.text if "kind" in content else whole(example, content))
    elif kind == "Policy":
        parse_policy(block.text if "kind" in content else a_policy(block.text))
    elif kind == "Roles":
        parse_roles(block.text.replace("<key>", raw_text(KEYS["ada"].public_key())))
    elif kind == "prices":
        (folder / "prices.yaml").write_text(block.text)
        PriceTable.load(folder / "prices.yaml")
    elif kind == "alerts":
        parse_routes(block.text)
    else:
        assert kind == "values", f"what is a {kind}?"
        require_values(content)


def require_values(content: Any) -> None:
    chart = ROOT / "deploy" / "helm" / "stoploss"
    values = laid_over(yaml.safe_load((chart / "values.yaml").read_text()), content)
    jsonschema.validate(values, yaml.safe_load((chart / "values.schema.json").read_text()))


def require_sql(block: Block, folder: Path) -> None:
    code = "import chdb, sys; print(chdb.query('EXPLAIN AST ' + sys.stdin.read()))"
    done = subprocess.run([sys.executable, "-c", code], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SelectQuery" in done.stdout


# ---- Python ------------------------------------------------------------------------------------------


def around() -> dict[str, Any]:
    """What the text around a block of Python says is there, and nothing that the block is about."""
    details = SimpleNamespace(
        flag_key="checkout-agent-model", variant="small", value="small", flag_metadata={"run": 1, "epoch": 1}
    )
    return {
        "details": details,
        "flags": SimpleNamespace(get_string_details=lambda *_: details),
        "ask_the_model": lambda _: SimpleNamespace(model="small-1", tokens_in=900, tokens_out=120, usd=0.002),
        "question": "where is my order?",
        "live_trace_id": "t-1",
    }


def require_python(block: Block, folder: Path) -> None:
    """With a broker that is nobody's: what connects does so in the background."""
    stoploss(["keys"])
    (folder / "monitor.pub").write_bytes((folder / "home" / "keys" / "monitor.pub").read_bytes())
    names = around()
    code = re.sub(r"\b(?:kafka|127\.0\.0\.1):9092", "127.0.0.1:1", block.text)
    if "Tracer(" not in code and "tracer." in code:
        names["tracer"] = Tracer("127.0.0.1:1", service="checkout-agent")
    exec(compile(code, str(block), "exec"), names)
    for tracer in [made for made in names.values() if isinstance(made, Tracer)]:
        assert tracer.stats.recorded
        assert not tracer.stats.invalid
        tracer.close(0.1)
    for reader in [made for made in names.values() if isinstance(made, LeaseReader)]:
        reader.close()
    api.clear_providers()


CHECKS: Mapping[str, Callable[[Block, Path], None]] = {
    "sh": require_shell,
    "console": require_shell,
    "yaml": require_yaml,
    "sql": require_sql,
    "python": require_python,
}


@pytest.mark.parametrize("block", RUN, ids=str)
def test_what_a_document_shows_works(block: Block, folder: Path) -> None:
    assert block.language in CHECKS, "name a language that is checked, or say before the block why it is not run"
    CHECKS[block.language](block, folder)


def test_what_is_not_run_says_why() -> None:
    assert [str(block) for block in BLOCKS if block.mark == "not run" and len(block.said) < 8] == []


def test_no_block_was_overlooked() -> None:
    fences = sum(len(re.findall(r"^ *```", path.read_text(), re.MULTILINE)) for path in DOCUMENTS)
    assert 2 * len(BLOCKS) == fences


def test_a_document_that_is_run_elsewhere_is_named_there() -> None:
    there = [name for name in RUN_BY if (ROOT / "docs" / f"{name}.md").exists()]
    assert [name for name in there if f"{name}.md" not in (ROOT / "tests" / RUN_BY[name]).read_text()] == []


@pytest.mark.parametrize(
    "wrong",
    ["stoploss status one two", "stoploss nonsense", "make nonsense", "pip install 'stoploss[nonsense]'", "rm x"],
)
def test_a_command_that_does_not_exist_would_be_found(wrong: str, folder: Path) -> None:
    block = Block("none", 1, "sh", wrong, "", "")
    with pytest.raises(AssertionError):
        require_shell(block, folder)

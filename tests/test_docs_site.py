"""The documents as a site: built without a warning, complete, and readable without a network."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import cast, get_args

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from docsite import links, reference, terminal
from stoploss import cli
from stoploss.topics import TOPICS
from stoploss.wire import schemas
from stoploss.wire.refusals import WHAT_TO_DO, Code

ROOT = Path(__file__).parents[1]
LOADED = re.compile(r"""(?:<(?:script|img|iframe|source)[^>]*\ssrc|<link[^>]*\shref)=["']?((?:https?:)?//[^"' >]+)""")
LOADED_BY_PICTURES = re.compile(r"@import|url\(\"?http|href")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("site") / "built"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return built


def test_every_document_is_a_page(site: Path) -> None:
    wanted = {path.relative_to(links.DOCS).with_suffix(".html") for path in links.DOCS.rglob("*.md")}
    assert {path for path in wanted if not (site / path).is_file()} == set()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    found = {(page.name, address) for page in site.rglob("*.html") for address in LOADED.findall(page.read_text())}
    assert found == set()
    assert "fonts.googleapis" not in "".join(page.read_text() for page in site.glob("*.html"))


def test_the_picture_of_the_demo_is_what_readme_shows_of_it(site: Path) -> None:
    assert terminal.PICTURE.read_text() == terminal.picture(), "run: python -m docsite.terminal"
    assert (site / "images/demo.svg").is_file()
    assert LOADED_BY_PICTURES.findall(terminal.picture()) == []


def test_what_a_page_links_to_in_the_project_is_in_the_site(site: Path) -> None:
    assert (site / "project/examples/low-traffic.yaml").read_text() == (ROOT / "examples/low-traffic.yaml").read_text()
    assert "project/examples/low-traffic.yaml" in (site / "experiment.html").read_text()
    assert "project/src/stoploss/stats/contrast.py" in (site / "statistics.html").read_text()


def test_the_reference_has_every_command_topic_and_record() -> None:
    pages = reference.pages()
    commands = cast(TyperGroup, get_command(cli.app)).commands
    assert [name for name in commands if f"\n## {name}\n" not in pages["reference/cli.md"]] == []
    assert "\n### deadletter retry\n" in pages["reference/cli.md"]
    assert [name for name in TOPICS if f"\n| `{name}` |" not in pages["reference/topics.md"]] == []
    fields = [field["name"] for field in schemas.schema("trace").source["fields"]]
    assert [name for name in fields if f"| `{name}` |" not in pages["reference/records.md"]] == []


def test_the_reference_has_every_code_of_a_dead_letter_and_each_is_one_that_the_code_gives() -> None:
    assert set(WHAT_TO_DO) == set(get_args(Code))
    assert [code for code in get_args(Code) if f"\n| `{code}` |" not in reference.codes()] == []
    files = [path for folder in ("src", "streams") for path in (ROOT / folder).rglob("*.py")]
    sources = "".join(path.read_text() for path in files if path.name != "refusals.py")
    older = {code for code, said in WHAT_TO_DO.items() if said.startswith("By an older version:")}
    assert {code for code in get_args(Code) if f'"{code}"' not in sources} == older


@pytest.mark.parametrize("module", [links, reference])
def test_the_examples_in_docstrings_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert not found.failed

"""The documents: what they link to exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "bench" / "calibration.md", *sorted(ROOT.glob("docs/*.md"))]
LINK = re.compile(r"\[(`?)([^\]`]+)`?\]\(([^)#]+)")


def links(document: Path) -> list[tuple[str, Path, bool]]:
    """(text, target, whether the text is code) of every link into the project."""
    found = LINK.findall(document.read_text())
    return [(text, document.parent / to, bool(code)) for code, text, to in found if "://" not in to]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    assert [str(to) for _, to, _ in links(document) if not to.exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_function_that_is_named_is_in_the_file_it_is_linked_to(document: Path) -> None:
    missing = [(name, to.name) for name, to, code in links(document) if code and name not in defined(to)]
    assert missing == []


def test_the_statistics_name_the_functions_they_rest_on() -> None:
    assert sum(code for _, _, code in links(ROOT / "docs" / "statistics.md")) > 10


def defined(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_how_soon_all_is_ready_after_a_kill_is_one_figure() -> None:
    """Of the newest 200 kills; docs/measured.md says how they were made."""
    told = {
        path.name: set(re.findall(r"\d+\.\d", " ".join(path.read_text().split()).split("200 kills")[1][:120]))
        for path in (ROOT / "docs" / "measured.md", ROOT / "ARCHITECTURE.md", ROOT / "docs" / "delivery.md")
    }
    assert all(figures == {"4.6", "13.2"} for figures in told.values()), told

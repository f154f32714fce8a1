"""The next version: a copy of this tree, edited where a next version would be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

TREE = Path(__file__).parents[2]
NEXT = "0.2.0"


def next_version(tree: Path) -> Path:
    """A copy of the code, edited where a next version would be."""
    for part in ("src/stoploss", "streams", "schemas"):
        shutil.copytree(TREE / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    edit(tree / "src/stoploss/__init__.py", '__version__ = "', f'__version__ = "{NEXT}"  # "')
    for rule in ("gate", "sample_ratio"):
        edit(tree / f"src/stoploss/rules/{rule}.py", "version: int = field(default=", "version: int = field(default=1")
    for name, module in (("evidence_block", "ledger"), ("tick", "ledger"), ("journal_entry", "journal")):
        add_field(tree, name, module)
    state, last = tree / "src/stoploss/state.py", "    refusals: int = 0\n"
    edit(state, last, f'{last}    made_by: str = field(default="{NEXT}", metadata={{"since": "{NEXT}"}})\n')
    return tree


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


def add_field(tree: Path, name: str, module: str) -> None:
    """One more optional field at the end of a record and of its class, which says who wrote it."""
    path = tree / "schemas" / f"{name}.avsc"
    schema = json.loads(path.read_text())
    schema["fields"].append({"name": "made_by", "type": ["null", "string"], "default": None})
    path.write_text(json.dumps(schema))
    last = {
        "evidence_block": "    metrics: tuple[MetricColumn, ...]\n",
        "tick": "    partition: int\n    owner: str\n",
        "journal_entry": '    conclusion: Conclusion = field(metadata={"union": True})\n',
    }[name]
    edit(tree / f"src/stoploss/{module}.py", last, f'{last}    made_by: str | None = "{NEXT}"\n')

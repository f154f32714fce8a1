"""The picture of the demo in a terminal, from what README shows of it: python -m docsite.terminal"""

from __future__ import annotations

import re
from io import StringIO

from rich.console import Console
from rich.terminal_theme import MONOKAI

from docsite.links import DOCS, ROOT

PICTURE = DOCS / "images" / "demo.svg"
_SHOWN = re.compile(r"```text\n(.*?)```", re.DOTALL)
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def said() -> str:
    """What `make demo` printed, as README has it."""
    found = _SHOWN.search((ROOT / "README.md").read_text())
    if found is None:
        raise LookupError("README.md has no block ```text with what the demo prints")
    return found.group(1)


def picture() -> str:
    """It loads no font from elsewhere: whoever shows it has a monospaced one."""
    text = said()
    console = Console(record=True, file=StringIO(), width=max(map(len, text.splitlines())) + 1, height=1)
    console.print(text, soft_wrap=True, markup=False)
    return _FONTS.sub("", console.export_svg(title="make demo", theme=MONOKAI, unique_id="demo"))


if __name__ == "__main__":
    PICTURE.write_text(picture())

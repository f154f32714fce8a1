"""The picture of the demo in a terminal, from what it printed (docs/images/demo.txt): python -m docsite.terminal"""

from __future__ import annotations

import re
from io import StringIO

from rich.console import Console
from rich.terminal_theme import MONOKAI

from docsite.links import DOCS

PRINTED, PICTURE = (DOCS / "images" / f"demo.{kind}" for kind in ("txt", "svg"))
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def picture() -> str:
    """It loads no font from elsewhere: whoever shows it has a monospaced one."""
    text = PRINTED.read_text()
    console = Console(record=True, file=StringIO(), width=max(map(len, text.splitlines())) + 1, height=1)
    console.print(text, soft_wrap=True, markup=False)
    return _FONTS.sub("", console.export_svg(title="make demo", theme=MONOKAI, unique_id="demo"))


if __name__ == "__main__":
    PICTURE.write_text(picture())

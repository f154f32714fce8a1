"""Where the files are that ship with the code: schemas, SQL, dashboards, examples."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "_data"
_CHECKOUT = Path(__file__).parents[2]


def data_path(*parts: str) -> Path:
    """Path of a shipped file: inside the installed wheel, or in the checkout."""
    packaged = _PACKAGED.joinpath(*parts)
    return packaged if packaged.exists() else _CHECKOUT.joinpath(*parts)

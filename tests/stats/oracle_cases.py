"""The independent numbers of oracles/*.json; each case names its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parent / "oracles"
_CASES: dict[str, Any] = {case["id"]: case for case in json.loads((_FOLDER / "stats.json").read_text())["cases"]}
CONTRASTS: dict[str, Any] = json.loads((_FOLDER / "contrast.json").read_text())["cases"]


def case(name: str) -> Any:
    return _CASES[name]


def near(name: str, expected: Any) -> Any:
    """The expected number, equal within the tolerance that its case states (the larger of absolute and relative)."""
    tolerance = _CASES[name]["tolerance_abs_or_rel"]
    return pytest.approx(expected, rel=tolerance, abs=tolerance)

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from stoploss.cli import governing
from stoploss.governance import changes, windows


@pytest.mark.parametrize("module", [changes, governing, windows], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_hold(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import stoploss.stats

MODULES = [
    importlib.import_module(f"stoploss.stats.{found.name}") for found in pkgutil.iter_modules(stoploss.stats.__path__)
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_checked_numbers_in_docstrings_are_right(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_every_method_has_a_checked_number() -> None:
    without = {module.__name__ for module in MODULES if doctest.testmod(module).attempted == 0}
    assert without == {"stoploss.stats.errors"}

"""The examples in docstrings hold."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from stoploss import settings_reference
from stoploss.cli import addresses, console, running, sending, stack


@pytest.mark.parametrize("module", [addresses, console, running, sending, settings_reference, stack])
def test_the_examples_in_docstrings_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert not found.failed

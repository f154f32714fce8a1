"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from stoploss.console import forms, guard, rendering, searching


@pytest.mark.parametrize("module", [forms, guard, rendering, searching], ids=lambda m: m.__name__)
def test_examples_hold(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from stoploss.intake import hashing, paths, pii_classes, quantise, segments
from stoploss.wire import block


@pytest.mark.parametrize(
    "module", [hashing, paths, pii_classes, quantise, segments, block], ids=lambda module: module.__name__
)
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed

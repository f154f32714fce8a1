"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from stoploss.review import (
    blocks,
    cells,
    decided,
    fourfold,
    guardrails,
    html,
    mark,
    owed,
    plain,
    samples,
    watched,
    words,
)

MODULES = [blocks, cells, decided, fourfold, guardrails, html, mark, owed, plain, samples, watched, words]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_examples_hold(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0

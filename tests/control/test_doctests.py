from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from stoploss.control import alerts, flag_server, http, rfc3339, webhook
from stoploss.control.adapter import matching, secrets, template


@pytest.mark.parametrize(
    "module",
    [alerts, flag_server, http, rfc3339, webhook, matching, secrets, template],
    ids=lambda module: module.__name__,
)
def test_the_examples_in_docstrings_hold(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0

from __future__ import annotations

import doctest

import pytest

from stoploss.emit import masking, request


@pytest.mark.parametrize("module", [masking, request])
def test_the_numbers_in_the_docstrings_are_right(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0

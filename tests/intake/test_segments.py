from __future__ import annotations

import polars as pl
import pytest

from stoploss.intake.segments import INVALID, clean, coded, crossed


def values(column: list[str | None]) -> list[str | None]:
    coded_column = coded(pl.Series(column, dtype=pl.String))
    return [coded_column.values[code] if code >= 0 else None for code in coded_column.codes]


def test_values_are_coded_and_nothing_is_none() -> None:
    assert values(["acme", None, "zeta", "acme", ""]) == ["acme", None, "zeta", "acme", None]


@pytest.mark.parametrize("value", ["de-DE", "Zürich", "東京", "हिन्दी", "a/b:c@d+e_f.g h", "x" * 64])
def test_letters_and_digits_of_any_script_pass(value: str) -> None:
    assert clean(value) == value


@pytest.mark.parametrize(
    "value",
    ["a\x00b", "a‮b", "a\nb", "a\u200bb", "'; DROP TABLE x; --", "<b>", "a×b", "x" * 65, "東" * 22, "😀"],
)
def test_anything_else_is_one_value(value: str) -> None:
    assert clean(value) == INVALID


def test_different_invalid_values_share_one_code() -> None:
    column = coded(pl.Series(["a\x00", "ok", "b\x00"]))
    assert column.values == (INVALID, "ok")
    assert column.codes.tolist() == [0, 1, 0]


def test_a_cross_has_a_value_where_both_sides_have_one() -> None:
    left = coded(pl.Series(["acme", "zeta", None, "acme", "acme"]))
    right = coded(pl.Series(["de", "de", "de", None, "de"]))
    both = crossed(left, right)
    named = [both.values[code] if code >= 0 else None for code in both.codes]
    assert named == ["acme×de", "zeta×de", None, None, "acme×de"]


def test_a_cross_of_columns_without_values_has_none() -> None:
    empty = coded(pl.Series([None, None], dtype=pl.String))
    both = crossed(empty, coded(pl.Series(["de", "en"])))
    assert both.values == ()
    assert both.codes.tolist() == [-1, -1]

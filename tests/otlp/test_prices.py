"""prices.yaml: what it may say, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stoploss.errors import ConfigurationError
from stoploss.otlp.prices import PriceTable

TEXT = """
models:
  gpt-4o-mini:
    - {from: 2024-07-18, input: 0.15, cached: 0.075, output: 0.60}
    - {from: 2025-02-01, input: 0.10, output: 0.40}
  gpt-4o-mini-2*: gpt-4o-mini
  gpt-4o*:
    - {from: 2024-05-13, input: 5, output: 15}
"""


def table(tmp_path: Path, text: str = TEXT) -> PriceTable:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    return PriceTable.load(path)


def ns(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("model", "day", "dollars"),
    [
        ("gpt-4o-mini", "2024-07-18", 0.15),
        ("gpt-4o-mini", "2025-01-31T23:59:59", 0.15),
        ("gpt-4o-mini", "2025-02-01", 0.10),
        ("gpt-4o-mini", "2024-07-17T23:59:59", None),
        ("gpt-4o-mini-2024-07-18", "2024-08-01", 0.15),
        ("gpt-4o-2024-08-06", "2024-09-01", 5.0),
        ("gpt-5", "2026-01-01", None),
        ("x" * 1_000, "2026-01-01", None),
    ],
)
def test_the_longest_name_that_fits_and_the_newest_price_count(
    tmp_path: Path, model: str, day: str, dollars: float | None
) -> None:
    price = table(tmp_path).price(model, ns(day))
    cost = None if price is None else price.cost_usd(1_000_000, 0, 0)
    assert cost == dollars


def test_a_time_beyond_all_calendars_has_the_newest_price(tmp_path: Path) -> None:
    assert table(tmp_path).price("gpt-4o-mini", 2**64 - 1) is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: [", "cannot be read"),
        ("[]", "wrong"),
        ("models: {a: [{from: 2024-01-01, input: -1, output: 1}]}", r"input.*greater than or equal to 0"),
        ("models: {a: [{from: 2024-01-01, input: .nan, output: 1}]}", "input"),
        ("models: {a: [{from: yesterday, input: 1, output: 1}]}", "from"),
        ("models: {a: [{from: 2024-01-01, input: 1}]}", "output"),
        ("models: {a: [{from: 2024-01-01, input: 1, output: 1, reasoning: 2}]}", "reasoning"),
        ("models: {a: []}", "needs prices"),
        (
            "models: {a: [{from: 2024-01-01, input: 1, output: 1}, {from: 2024-01-01, input: 2, output: 1}]}",
            "of its own",
        ),
        ("models: {a: b}", "has the prices of 'b'"),
    ],
)
def test_a_wrong_table_is_refused_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        table(tmp_path, text)


def test_no_table_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        PriceTable.load(tmp_path / "none.yaml")

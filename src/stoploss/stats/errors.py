"""What the statistics refuse. The core imports nothing, so this stands apart from the tree in stoploss.errors."""

from __future__ import annotations


class StatisticsInputError(ValueError):
    """A parameter or a count outside the range for which the method holds. The message names it and its value."""


def require_between(name: str, value: float, low: float, high: float) -> None:
    """Refuse a value that is not strictly between low and high; NaN never is."""
    if not low < value < high:
        raise StatisticsInputError(f"{name} is {value!r}; it must be a number strictly between {low:g} and {high:g}")


def require_count(name: str, value: int, *, at_least: int = 0) -> None:
    """Refuse a count below its least value."""
    if not value >= at_least:
        raise StatisticsInputError(f"{name} is {value!r}; it must be a whole number of at least {at_least}")


def require_part(name: str, part: int, whole_name: str, whole: int) -> None:
    """Refuse a part that is negative or exceeds its whole, such as 5 events among 3 units."""
    if not 0 <= part <= whole:
        raise StatisticsInputError(f"{name} is {part!r}; it must lie between 0 and {whole_name}, which is {whole!r}")

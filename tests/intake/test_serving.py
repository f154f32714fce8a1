"""E6: what a trace was served by, against what its variant declares."""

from __future__ import annotations

from typing import Any

import pytest

from stoploss.experiment import SERVED_INSTEAD
from stoploss.metrics import MISSING, UNDECLARED_SERVING
from tests.intake.records import NAME, SPEC, assigned, declaring, outcome, rows_of, take_in_outcomes, trace

DECLARED = SPEC.replace(
    "{name: current,", "{name: current, model: large-2, prompt: checkout@v7, promptHash: abc,"
).replace("{name: small,", "{name: small, model: small-1, routing: cheap,")
WATCHED = declaring("", DECLARED)


def seen(*traces: dict[str, Any]) -> list[tuple[int | None, str | None]]:
    """By trace: whether it was served otherwise (None: nothing to compare), and by what."""
    rows = rows_of(*(trace(**fields) for fields in traces), watched=WATCHED)
    instead = rows.segments[SERVED_INSTEAD]
    names = [instead.values[code] if code >= 0 else None for code in instead.codes]
    rate = [None if value == MISSING else int(value) for value in rows.metrics[UNDECLARED_SERVING]]
    return list(zip(rate, names, strict=True))


def test_a_trace_that_shows_what_is_declared_was_served_so() -> None:
    whole = {"model": "large-2", "prompt_name": "checkout", "prompt_version": "v7", "prompt_hash": "abc"}
    assert seen(whole, {"model": "large-2"}) == [(0, None), (0, None)]


@pytest.mark.parametrize(
    ("fields", "instead"),
    [
        ({"model": "large-2-mini"}, "model large-2-mini"),
        ({"prompt_name": "search"}, "prompt search"),
        ({"prompt_name": "checkout", "prompt_version": "v8"}, "prompt version v8"),
        ({"prompt_hash": "abd"}, "prompt hash abd"),
        ({"model": "<b>"}, "model invalid"),
    ],
)
def test_a_difference_is_found_and_named(fields: dict[str, Any], instead: str) -> None:
    assert seen(fields, {"model": "large-2"}) == [(1, instead), (0, None)]


def test_each_variant_is_held_to_its_own() -> None:
    small = {"assignments": [assigned("small")]}
    found = seen(small | {"model": "large-2"}, small | {"model": "small-1", "routing": "default"}, {"routing": "any"})
    assert found == [(1, "model large-2"), (1, "routing default"), (None, None)]


@pytest.mark.parametrize(
    "fields", [{}, {"model": None}, {"model": ""}, {"assignments": [assigned("ghost")], "model": "x"}]
)
def test_what_is_not_shown_or_not_declared_is_not_held_against_a_trace(fields: dict[str, Any]) -> None:
    assert seen(fields) == [(None, None)]


def test_of_several_differences_the_first_is_named() -> None:
    assert seen({"prompt_hash": "x", "model": "y"}) == [(1, "model y")]


def test_a_spec_that_declares_nothing_measures_nothing() -> None:
    assert UNDECLARED_SERVING not in rows_of(trace(model="any")).metrics


def test_an_outcome_shows_nothing() -> None:
    rows = take_in_outcomes(outcome(), watched=WATCHED).rows[NAME]
    assert rows.segments[SERVED_INSTEAD].codes.tolist() == [-1]
    assert UNDECLARED_SERVING not in rows.metrics

"""The pictures of a review: they show what its tables say, and nothing that is hidden."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stoploss.review.cells import Cells
from stoploss.review.drawn import curves, exposure, forests, left_of
from stoploss.review.guardrails import guardrail_results, segment_results
from stoploss.review.pictures import Points
from stoploss.review.recommended import FlipLine, Recommended, TermLine
from stoploss.store.picture_reads import ArmPoint, SaidPoint
from tests.review.rows import GUARDED, at, entry, experiment, issued, verdict
from tests.review.test_document import reviewed

SPEC = experiment(GUARDED)


def tenant(value: str, estimate: float | None, **changes: object) -> object:
    return verdict(segment_dimension="tenant", segment_value=value, estimate=estimate, **changes)


def test_exposure_is_drawn_from_command_to_command_and_an_epoch_is_a_mark() -> None:
    timeline = [
        issued(1, "c-0", "set_exposure"),
        entry("epoch_opened", 2, {"epoch": 1, "exposure": 0.5}),
        issued(9, "c-1", "rollback"),
    ]
    review = reviewed(timeline=timeline)
    drawn = exposure(review.commands, at(30), ())
    assert drawn is not None
    assert drawn.lines[0].at == (at(1), at(9), at(30))
    assert review.drawings.exposure is not None
    assert [(mark.text, mark.role) for mark in review.drawings.exposure.marks] == [
        ("epoch 1, 50 %", "epoch"),
        ("rollback", "command"),
    ]


def test_a_forest_shows_the_most_harmful_first_and_names_a_hidden_cell_without_its_numbers() -> None:
    said = [
        verdict(),
        tenant("acme", 0.02),
        tenant("zeta", 0.31),
        tenant("tiny", None, hidden=True, lower=None, upper=None),
    ]
    results = guardrail_results(SPEC, said, ()), segment_results(SPEC, said, (), Cells())
    (forest,) = forests(*results)
    assert [row.label for row in forest.rows] == ["everybody", "tenant=zeta", "tenant=acme"]
    assert (forest.edge, forest.is_share) == (0.15, True)
    assert "Hidden, too few traces: tenant=tiny." in forest.caption


def test_the_worth_by_price_is_a_line_through_the_estimate_with_the_prices_that_turn_it() -> None:
    terms = tuple(TermLine(what, value, None, None) for what, value in (("the sum", 0.06), ("cost", -0.04)))
    flips = (FlipLine("lambdaCost", 0.2, 0.45, 0.55), FlipLine("lambdaRisk", 0.0, None, None))
    (curve,) = curves(Recommended("iterate", "", "", terms, flips, None))
    slope = (curve.y[-1] - curve.y[0]) / (curve.x[-1] - curve.x[0])
    assert curve.y[0] == pytest.approx(0.10)
    assert slope == pytest.approx(-0.2)
    assert (curve.at, curve.flips) == (0.2, (0.45, 0.55))
    assert curve.x[-1] == pytest.approx(0.66)


def test_a_budget_is_whole_again_when_a_period_begins() -> None:
    days = [datetime(2026, 3, day, hour, tzinfo=UTC) for day, hour in ((1, 10), (1, 20), (2, 1), (2, 2))]
    points = [ArmPoint(day, "small", "cost_usd", n, 0.5) for day, n in zip(days, (20, 40, 44, 60), strict=True)]
    assert list(left_of(100.0, 86_400, points)) == [90.0, 80.0, 98.0, 90.0]


def test_what_was_said_over_time_is_drawn_with_its_margin_and_what_is_left_of_the_budget() -> None:
    budget = "{metric: cost_usd, limit: 500, period: 24h, actions: [{burn: 6, do: stop}]}"
    spent = experiment(f"{GUARDED}budgets: [{budget}]")
    said = [SaidPoint(at(step), "guardrail[0]", "latency_ms", 1.0, 4.6, 0.05, -0.1, None, 0.15) for step in range(3)]
    arms = [ArmPoint(at(step), "small", "cost_usd", 100 * step, 0.01) for step in range(3)]
    drawn = {one.key: one for one in reviewed(spent, points=Points(said, arms)).drawings.all}
    assert set(drawn) == {"effect-0", "budget-left-0"}
    assert drawn["budget-left-0"].caption.startswith("498 USD of 500 USD are left")

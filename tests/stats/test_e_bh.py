from __future__ import annotations

import math

import pytest

from stoploss.stats.bonferroni import log_limit
from stoploss.stats.e_bh import standing_out
from stoploss.stats.errors import StatisticsInputError

from .oracle_cases import case

ORACLE = case("e_bh")
LOG_ES = [math.log(e) for e in ORACLE["inputs"]["e"]]
ALPHA = ORACLE["parameters"]["alpha"]


def test_the_streams_that_stand_out_are_those_of_the_definition() -> None:
    assert sorted(standing_out(LOG_ES, ALPHA)) == ORACLE["expected"]["ebh_rejected_indices"]


def test_fewer_alarm_than_stand_out() -> None:
    limit = log_limit(ALPHA, 1 / len(LOG_ES))
    alarmed = [place for place, log_e in enumerate(LOG_ES) if log_e >= limit]
    assert alarmed == ORACLE["expected"]["ebonferroni_rejected_indices"]


def test_the_strongest_comes_first_and_of_equal_ones_the_earlier() -> None:
    assert standing_out([5.0, 9.0, -math.inf, 5.0], 0.5) == (1, 0, 3)


def test_nothing_stands_out_where_there_is_nothing() -> None:
    assert standing_out([], 0.05) == standing_out([0.0, -3.0], 0.05) == ()


def test_evidence_that_is_no_number_is_refused() -> None:
    with pytest.raises(StatisticsInputError, match="each must be a number"):
        standing_out([math.nan], 0.05)

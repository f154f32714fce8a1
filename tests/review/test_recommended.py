"""D2, D9: what is recommended, and the sum, terms and prices behind it, as people read them."""

from __future__ import annotations

from typing import Any

from stoploss.review.cells import Cells
from stoploss.review.explained import sections
from stoploss.review.explanation import explanation
from stoploss.review.frames import FrameRows, frame
from stoploss.review.markdown import markdown
from stoploss.review.recommended import flip_text, recommendation_text, recommended, term_text
from stoploss.store.rows import RuleVerdict
from tests.review.rows import experiment, finding, status, verdict
from tests.review.test_document import reviewed

WEIGHED = "objective: {quality: {score: helpfulness}, lambdaCost: 0.2}"


def said(metric: str, word: str = "ok", **changes: Any) -> RuleVerdict:
    given = {"observed": None, "bound": None, "margin": None, "reason": "part_of_utility", **changes}
    return verdict(rule="objective", metric=metric, verdict=word, **given)


SAID = [
    said("recommendation", "iterate", missing="no offline evaluation is stated"),
    said("utility", "better", estimate=0.101, lower=0.082, upper=0.12),
    said("quality", estimate=0.05, lower=0.03, upper=0.07),
    said("cost", estimate=0.051, lower=0.05, upper=None),
    said("lambda_cost", estimate=None, lower=0.31, upper=0.52, observed=0.2),
]


def test_the_recommendation_comes_with_its_gaps_the_sum_each_term_and_the_flip() -> None:
    found = recommended(experiment(WEIGHED), SAID)
    assert found is not None
    assert recommendation_text(found) == "iterate (no offline evaluation is stated)"
    assert [(line.what, term_text(line)) for line in found.terms] == [
        ("the sum", "+10.1 % (+8.2 % to +12 %)"),
        ("quality", "+5 % (+3 % to +7 %)"),
        ("cost", "+5.1 % (+5 % to no limit)"),
    ]
    assert [flip_text(line) for line in found.flips] == ["lambdaCost is 0.2; the verdict turns between 0.31 and 0.52"]


def test_a_price_that_nothing_turns_is_said_so() -> None:
    found = recommended(experiment(WEIGHED), [said("lambda_cost", estimate=None, lower=None, upper=None, observed=0.2)])
    assert found is not None
    assert [flip_text(line) for line in found.flips] == ["lambdaCost is 0.2; no other price turns the verdict"]


def test_without_an_objective_nothing_is_recommended_and_the_review_says_so() -> None:
    assert recommended(experiment(), SAID) is None
    text = markdown(reviewed(experiment(), verdicts=SAID))
    assert "The spec has no objective, so nothing is weighed and nothing recommended." in text
    assert "**Recommendation:**" not in text


def test_before_anything_was_judged_it_is_iterate_and_no_number_is_made_up() -> None:
    found = recommended(experiment(WEIGHED), [])
    assert found is not None
    assert recommendation_text(found) == "iterate (nothing has been judged yet)"
    assert (found.terms, found.flips, found.at) == ((), (), None)


def test_the_review_tells_it_before_the_decision_and_shows_the_terms() -> None:
    text = markdown(reviewed(experiment(WEIGHED), verdicts=SAID))
    assert text.index("- **Recommendation:** iterate (no offline") < text.index("- **Decision:**")
    assert "| the sum | +10.1 % (+8.2 % to +12 %) |" in text
    assert "Against control: better." in text


def test_the_explanation_has_the_last_recommendation_of_the_run() -> None:
    sentence = "recommended: roll out: worth +10.1 %"
    timeline = [
        finding(3, rule="objective", metric="recommendation", verdict="iterate", sentence="recommended: iterate"),
        finding(4, rule="objective", metric="recommendation", verdict="rollout", sentence=sentence),
        *[finding(number) for number in range(5, 12)],
    ]
    told = explanation(status(), timeline, [], {}, [], Cells(20))
    [section] = [section for section in sections(told, "stoploss") if section.title == "Recommendation"]
    assert section.lines[0].endswith(sentence)


def test_the_frame_of_watch_has_it_too() -> None:
    shown = frame(status(), experiment(WEIGHED), FrameRows(verdicts=SAID))
    assert shown.recommended is not None
    assert shown.recommended.word == "iterate"

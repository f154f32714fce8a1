"""Two experiments on the same traffic, as people read of it: in the review, and by `stoploss overlaps`."""

from __future__ import annotations

from typing import Any

from stoploss.cli.overlaps import lines_of, overlaps_of
from stoploss.experiment import Experiment
from stoploss.review.beside import InteractionLine, interactions
from stoploss.review.markdown import markdown
from stoploss.spec.file import parse_experiment
from stoploss.store.rows import RuleVerdict
from tests.review.rows import GUARDED, experiment, verdict
from tests.review.test_document import reviewed
from tests.timelines import SPEC, spec

DIMENSION = "experiment:ranking"
BESIDE = GUARDED.replace("[tenant]", f'["{DIMENSION}"]') + "overlaps: [ranking]\n"


def cell(rule: str, value: str, **changes: Any) -> RuleVerdict:
    return verdict(rule=rule, segment_dimension=DIMENSION, segment_value=value, **changes)


def rows(**changes: Any) -> list[RuleVerdict]:
    given: dict[str, Any] = {
        "verdict": "differs",
        "reason": "effects_differ",
        "estimate": -0.38,
        "lower": -0.46,
        "upper": -0.28,
        "n_control": 9_000,
        "n_treatment": 1_000,
        "missing": "",
        **changes,
    }
    return [cell("guardrail[0]", "v1"), cell("guardrail[0]", "v2"), cell("interaction[0]", "v2", **given)]


def line(**changes: Any) -> InteractionLine:
    [found] = interactions(experiment(BESIDE), rows(**changes))
    return found


def section(verdicts: list[RuleVerdict], extra: str = BESIDE) -> str:
    text = markdown(reviewed(experiment(extra), verdicts=verdicts))
    return text.partition("## Other experiments on the same traffic\n")[2].partition("\n## ")[0]


def test_how_the_effect_differs_stands_in_the_review_with_both_variants_and_an_interval() -> None:
    """X3"""
    said = section(rows())
    row = r"| ranking | latency\_ms \(log\) | v2 less v1 | \-38 %, between \-46 % and \-28 % | the effect differs |"
    assert row.replace("\\", "") in said.replace("\\", "")
    assert "1,000 / 9,000" in said


def test_what_is_not_known_yet_says_what_it_lacks() -> None:
    said = section(rows(verdict="undecided", estimate=None, lower=None, upper=None, missing="12 of 500 units"))
    assert "not known yet: 12 of 500 units" in said
    assert "no difference is shown" in said


def test_a_hidden_cell_tells_no_number() -> None:
    """P2"""
    found = line(hidden=True, estimate=None, lower=None, upper=None, n_control=None, n_treatment=None)
    assert (found.estimate, found.n, found.missing) == (None, None, "numbers hidden: too few traces")


def test_an_overlap_at_which_nobody_looks_is_said_to_be_unknown() -> None:
    assert section([]).strip() == "Whether the effect depends on these is not known: ranking."
    assert section([], extra=GUARDED).strip() == "None is declared."


def test_with_more_than_two_variants_the_first_is_the_one_that_no_row_names() -> None:
    found = interactions(experiment(BESIDE), [*rows(), cell("guardrail[0]", "v3"), cell("interaction[0]", "v3")])
    assert [(one.variant, one.first) for one in found] == [("v2", "v1"), ("v3", "v1")]


# ---- stoploss overlaps -------------------------------------------------------------------------------


def other(extra: str = "") -> Experiment:
    return parse_experiment(spec(extra, SPEC.replace("name: checkout", "name: ranking")))


def test_two_experiments_that_may_meet_are_listed_and_those_that_never_do_are_not() -> None:
    """X3"""
    one = experiment(BESIDE)
    [found] = overlaps_of([(one, 1), (other(), 2)], None)
    assert (found.one, found.other, found.traffic, found.declared) == ("checkout", "ranking", "surface checkout", True)
    apart = other("traffic: {surfaces: [search-page]}")
    assert overlaps_of([(one, 1), (apart, 2)], None) == []


def test_what_would_make_the_interaction_known_is_said() -> None:
    [found] = overlaps_of([(experiment(), 1), (other(), 1)], None)
    assert lines_of(found) == [
        "checkout and ranking may reach the same traffic (surface checkout; not declared); whether their effects "
        'depend on each other is not known: segments: ["experiment:ranking"] in checkout, or the other way round, '
        "makes stoploss look"
    ]


def test_each_line_names_whose_effect_it_is() -> None:
    [found] = overlaps_of([(experiment(BESIDE), 1), (other(), 1)], None)
    seen = type(found)(found.one, found.other, found.traffic, found.declared, (line(),))
    assert lines_of(seen)[1] == (
        "  checkout beside ranking: effect on latency_ms (log) in v2 less that in v1: -38 %, between -46 % and -28 %; "
        "the effect differs"
    )

"""The review as people read it: the template first, nothing invented, nothing injected."""

from __future__ import annotations

import re

import pytest

from stoploss.review.mark import escaped
from stoploss.review.markdown import markdown
from tests.review.rows import GUARDED, arm, experiment, finding, issued, verdict
from tests.review.test_document import reviewed

HOSTILE = "a|b\n# heading <script>alert(1)</script> [x](javascript:y) `c` \x1b[31m"
FIRST = ["Hypothesis", "Variant A (control)", "Variant B (treatment)", "Target metric"]
RESULTS = ["Result for quality", "Result for cost", "Result for risk"]
BESIDE = [*["Guardrail"] * 3, "Result for latency", "State", "From start to decision"]


def labels(text: str) -> list[str]:
    return re.findall(r"^- \*\*(.*?):\*\*", text, re.MULTILINE)


def test_the_first_lines_are_the_template() -> None:
    """X8"""
    found = labels(markdown(reviewed(experiment(GUARDED + "objective: {quality: {score: helpfulness}}"))))
    names = [label.split(" latency_ms")[0].split(" helpfulness")[0] for label in found]
    template = [*FIRST, *RESULTS, "Recommendation", "Decision", "Why", *BESIDE]
    assert names[: len(template)] == template


def test_each_guardrail_says_its_verdict_interval_and_margin() -> None:
    line = next(line for line in markdown(reviewed(verdicts=[verdict()])).splitlines() if "Guardrail latency" in line)
    assert line == (
        "- **Guardrail latency_ms (geometric mean):** undecided: neither harm nor safety is shown yet; "
        "effect of B -2 % to +12 %; may rise by at most 15 %"
    )


def test_what_is_not_known_is_no_data_and_never_zero() -> None:
    text = markdown(reviewed())
    assert "cost_usd: A no data, B no data" in text
    assert not re.search(r"\b0 (ms|USD|points|%) ?\(", text)


def test_the_aim_of_the_target_metric_is_told_with_its_unit() -> None:
    spec = experiment()
    with_aim = spec.model_copy(
        update={
            "spec": spec.spec.model_copy(
                update={"success": spec.spec.success.model_copy(update={"baseline": 0.71, "worthwhile": 0.01})}
            )
        }
    )
    assert "resolved; baseline 0.71 points; worthwhile from 0.01 points; A no data" in markdown(reviewed(with_aim))


def test_an_interval_of_geometric_means_is_not_passed_off_as_one_of_the_change_beside_it() -> None:
    arms = [arm(mean=500.0), arm(variant="small", mean=600.0)]
    text = markdown(reviewed(arms=arms, verdicts=[verdict()]))
    assert "change +20 %; interval of the change in geometric means -2 % to +12 %" in text


def test_a_small_cell_is_named_and_its_numbers_are_not_shown() -> None:
    tiny = {"segment_dimension": "tenant", "segment_value": "tiny", "n_treatment": 3, "n_control": 7_654}
    text = markdown(reviewed(timeline=[finding(1, **tiny, lower=0.98765), issued(2, action="stop_segment")]))
    assert (
        "Numbers hidden, fewer than 20 traces in an arm, here or in one that they would tell of: tenant=tiny." in text
    )
    assert "98.7" not in text
    assert "7,654" not in text


@pytest.mark.parametrize("where", ["sentence", "segment_value"])
def test_text_of_a_sender_stays_text(where: str) -> None:
    changes = {"segment_dimension": "tenant", "segment_value": "acme", where: HOSTILE}
    text = markdown(reviewed(timeline=[finding(1, **changes)]))
    assert "\x1b" not in text
    assert "\n# heading" not in text
    assert re.search(r"(?<!\\)<script>", text) is None
    assert re.search(r"(?<!\\)\[x\]", text) is None


def test_every_row_of_a_table_has_as_many_cells_as_its_header() -> None:
    acme = {"segment_dimension": "tenant", "segment_value": HOSTILE}
    text = markdown(reviewed(timeline=[finding(1, **acme), issued(2)], verdicts=[verdict()], arms=[arm()]))
    tables = re.split(r"\n(?!\|)", text)
    widths = [{len(re.findall(r"(?<!\\)\|", row)) for row in t.splitlines() if row.startswith("|")} for t in tables]
    assert all(len(width) <= 1 for width in widths)
    assert sum(len(width) for width in widths) == 7


def test_escaping_leaves_ordinary_text_alone() -> None:
    assert escaped("latency_ms rose by 31.2 % (650 traces)") == "latency_ms rose by 31.2 % (650 traces)"

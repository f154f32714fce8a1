"""X7: evidence of harm as cases: each input once, masked, with its way back, and nothing passed off as right."""

from __future__ import annotations

from stoploss.cases.model import MOST_LINKS, cases_of
from stoploss.incidents.traces import Shown
from tests.cases.evidence import COMMAND, FINDING, OUTPUT, cases, harm, row, shown


def test_an_input_that_came_often_is_one_case_with_all_its_traces() -> None:
    (case,) = cases(shown(1), shown(2, " What is\n my card? "), shown(3, output="another answer"))
    assert case.seen == 3
    assert [link.trace_id for link in case.links] == ["t-1", "t-2", "t-3"]
    assert case.failing_output == OUTPUT


def test_a_case_leads_back_to_trace_segment_rule_and_command() -> None:
    (case,) = cases(shown(4, rule="guardrail", metric="error_rate", segment="tenant=acme"))
    (link,) = case.links
    assert (link.experiment, link.command_id, link.finding) == ("checkout", COMMAND, FINDING)
    assert (link.rule, link.metric, link.segment) == ("guardrail", "error_rate", "tenant=acme")
    assert (link.trace_id, link.topic, link.partition, link.offset) == ("t-4", "stoploss.traces", 3, 4)


def test_a_segment_whose_numbers_people_may_not_read_is_not_named() -> None:
    """P2"""
    found = harm(shown(4, rule="guardrail", metric="error_rate", segment="tenant=tiny"))
    (case,) = cases_of([("checkout", COMMAND, found)], {FINDING}).cases
    assert (case.links[0].segment, case.links[0].trace_id) == (None, "t-4")


def test_the_links_of_a_case_are_bounded_and_its_rows_are_counted() -> None:
    (case,) = cases(*(shown(offset) for offset in range(50)))
    assert (case.seen, len(case.links)) == (50, MOST_LINKS)


def test_ids_do_not_depend_on_order_or_on_what_else_there_is() -> None:
    """Whoever loads them again updates, and doubles nothing."""
    one, two = shown(1), shown(2, "Another question?")
    first = {case.input: case.case_id for case in cases(one, two)}
    again = {case.input: case.case_id for case in cases(two, shown(9), one)}
    assert first == again
    assert len(set(first.values())) == 2


def test_the_same_input_in_another_rule_or_experiment_is_another_case() -> None:
    (gate,), (rate,) = cases(shown(1)), cases(shown(1, rule="guardrail", metric="error_rate"))
    (elsewhere,) = cases_of([("other", COMMAND, harm(shown(1)))]).cases
    assert len({gate.case_id, rate.case_id, elsewhere.case_id}) == 3


def test_texts_are_masked_before_they_are_compared() -> None:
    found = cases(shown(1, "I am ann@example.org"), shown(2, "I am bob@example.org"))
    assert [case.input for case in found] == ["I am [masked:email]"]


def test_what_cannot_be_a_case_is_counted_with_its_reason() -> None:
    lost = Shown(row(3), None)
    found = cases_of(
        [
            ("checkout", COMMAND, harm(shown(1), shown(2, None), lost, Shown(row(4), None), of=10)),
            ("checkout", "d" * 64, harm(none_because="rule 'sample_ratio' does not judge single traces")),
        ]
    )
    assert len(found.cases) == 1
    assert {skipped.why: skipped.rows for skipped in found.skipped} == {
        "beyond the number of rows that is read of one finding": 6,
        "the trace has no input text: the service sends none": 1,
        "the trace is not stored (yet, or any more)": 2,
        "rule 'sample_ratio' does not judge single traces": 0,
    }


def test_the_criterion_says_what_must_not_happen_and_does_not_quote_the_answer() -> None:
    (case,) = cases(shown(1))
    assert case.criterion.startswith("The answer must not trip the gate pii_exposed.")
    assert OUTPUT not in case.criterion

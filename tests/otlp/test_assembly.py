"""Spans of a trace wait for one another, for so long and so many; what goes without an assignment is dropped."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from stoploss.otlp import assembly as assembling
from stoploss.otlp.assembly import LOGGED_S, WINDOW_S, Assembly, Released
from stoploss.otlp.translating import LOGS, SPANS, Translator
from tests.otlp.telling import CHAT, EVALUATED, EXPERIMENT, TRACE, Telling, event, logged, translator

SCORED = {"gen_ai.evaluation.name": "helpfulness", "gen_ai.evaluation.score.value": 0.8}
OTHER = bytes(range(1, 17))


def root(trace_id: bytes = TRACE, **attributes: Any) -> bytes:
    told = Telling()
    event(told.span("POST /chat", attributes, trace_id=trace_id), "feature_flag.evaluation", EVALUATED)
    return told.value


def call(trace_id: bytes = TRACE, place: int = 1, **attributes: Any) -> bytes:
    """Below the span that root() tells."""
    told = Telling()
    parent = told.span("POST /chat", trace_id=trace_id)
    for at in range(place):
        told.span("chat", {**CHAT, **attributes}, parent=parent, at_ms=5 + at, trace_id=trace_id)
    spans = told.request.resource_spans[0].scope_spans[0].spans
    del spans[: len(spans) - 1]
    return told.value


def together(waiting: Translator, *parts: tuple[str, bytes, float]) -> Released:
    out = Released()
    for source, (topic, value, now_s) in enumerate(parts):
        _add(out, waiting.take(topic, value, source, now_s))
    return out


def _add(out: Released, more: Released) -> None:
    out.traces += more.traces
    out.outcomes += more.outcomes
    out.counts += more.counts


def test_children_wait_for_the_span_in_which_the_request_entered() -> None:
    waiting = translator()
    assert not waiting.take(SPANS, call(), "a", 0.0).traces
    assert waiting.assembly.holds("a")
    (record,) = waiting.take(SPANS, root(), "b", 4.0).traces
    assert [step.kind for step in record["steps"]] == ["model"]
    assert not waiting.assembly.holds("a")
    assert not waiting.assembly.holds("b")


def test_a_trace_is_the_same_in_whatever_order_and_records_its_spans_come() -> None:
    flag = logged("feature_flag.evaluation", EVALUATED)
    made = []
    for order in itertools.permutations([(SPANS, call()), (SPANS, call(place=2)), (SPANS, root()), (LOGS, flag)]):
        waiting = translator(grace_s=1.0)
        out = together(waiting, *((topic, value, 0.0) for topic, value in order))
        _add(out, waiting.assembly.expire(1.0))
        made.append(out.traces)
    assert all(each == made[0] for each in made)
    assert len(made[0]) == 1
    assert made[0][0]["input_tokens"] == 2_000


@pytest.mark.parametrize("more", [{"kind": 2}, {"flags": 0x300}])
def test_a_request_from_another_process_enters_too(more: dict[str, Any]) -> None:
    told = Telling()
    event(told.span("POST /chat", CHAT, **more), "feature_flag.evaluation", EVALUATED)
    told.request.resource_spans[0].scope_spans[0].spans[0].parent_span_id = b"far away"
    assert len(translator().take(SPANS, told.value, 0, 0.0).traces) == 1


def test_without_an_entry_a_trace_goes_when_its_time_is_over() -> None:
    waiting = translator()
    waiting.take(SPANS, call(**EVALUATED), "a", 5.0)
    assert not waiting.assembly.expire(5.0 + WINDOW_S - 0.1).traces
    assert len(waiting.assembly.expire(5.0 + WINDOW_S).traces) == 1


def test_p4_spans_without_an_assignment_are_counted_and_dropped() -> None:
    """P4: at once where no model has to do with them, else when no log event can save them any more."""
    plain = Telling()
    page = plain.span("GET /", {"http.route": "/"})
    plain.span("SELECT", {"db.system.name": "postgresql"}, parent=page)
    generative = Telling()
    generative.span("chat", CHAT, trace_id=OTHER)
    waiting = translator()
    assert waiting.take(SPANS, plain.value, "a", 0.0).counts == Counter(spans_unassigned=2)
    assert waiting.take(SPANS, generative.value, "b", 0.0).counts == Counter()
    assert waiting.assembly.expire(WINDOW_S).counts == Counter(spans_unassigned=1)
    assert waiting.assembly.waiting_spans == 0
    assert not waiting.assembly.holds("b")


def test_a_flag_in_the_log_saves_a_trace_that_waits() -> None:
    told = Telling()
    told.span("chat", CHAT)
    waiting = translator()
    assert not waiting.take(SPANS, told.value, "a", 0.0).traces
    (record,) = waiting.take(LOGS, logged("feature_flag.evaluation", EVALUATED), "b", 3.0).traces
    assert record["unit_id"] == "user-7"


def test_a_flag_in_the_log_is_remembered_for_a_request_that_takes_long() -> None:
    told = Telling()
    told.span("chat", CHAT)
    flag = logged("feature_flag.evaluation", EVALUATED)
    for passed_s, traces in ((LOGGED_S - 1, 1), (LOGGED_S + 1, 0)):
        waiting = translator()
        waiting.take(LOGS, flag, "b", 0.0)
        assert not waiting.assembly.holds("b")
        waiting.assembly.expire(passed_s)
        assert len(waiting.take(SPANS, told.value, "a", passed_s).traces) == traces


def test_spans_of_a_trace_that_has_gone_are_late() -> None:
    waiting = translator()
    out = together(waiting, (SPANS, call(), 0.0), (SPANS, root(), 0.0), (SPANS, call(place=2, **EVALUATED), 1.0))
    _add(out, waiting.assembly.expire(100.0))
    assert len(out.traces) == 1
    assert out.counts["spans_late"] == 1


def test_a_grace_lets_other_processes_tell_their_part() -> None:
    waiting = translator(grace_s=2.0)
    out = together(waiting, (SPANS, root(**CHAT), 0.0), (SPANS, call(), 1.5))
    assert not out.traces
    (record,) = waiting.assembly.expire(2.0).traces
    assert record["input_tokens"] == 1_000  # the outer call is a wrapper
    assert len(record["steps"]) == 1


def test_no_more_wait_than_may() -> None:
    waiting = translator(waiting_max=3)
    values = [call(bytes([1 + place]) * 16, **EVALUATED) for place in range(5)]
    out = together(waiting, *((SPANS, value, 0.0) for value in values))
    assert waiting.assembly.waiting_spans == 3
    assert [record["trace_id"][:2] for record in out.traces] == ["01", "02"]
    assert out.counts["traces_cut_short"] == 2


def test_a_trace_of_more_spans_than_anybody_means_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembling, "MOST_SPANS_OF_A_TRACE", 3)
    told = Telling()
    parent = told.span("POST /chat", EVALUATED)
    for _ in range(5):
        told.span("chat", CHAT, parent=parent)
    out = translator().take(SPANS, told.value, 0, 0.0)
    assert out.counts == Counter(spans_too_many=3, spans_assigned=3)


def test_memories_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembling, "MOST_REMEMBERED", 2)
    waiting = translator()
    for place in range(4):
        waiting.take(LOGS, logged("feature_flag.evaluation", EVALUATED, trace_id=bytes([9 + place]) * 16), 0, 0.0)
        waiting.take(SPANS, root(bytes([1 + place]) * 16, **CHAT), 0, 0.0)
    assert len(waiting.assembly._logged) == len(waiting.assembly._gone) == 2


def test_what_is_read_again_elsewhere_is_forgotten() -> None:
    waiting = translator()
    waiting.take(SPANS, call(), "mine", 0.0)
    waiting.take(SPANS, call(place=2, **EVALUATED), "lost", 0.0)
    waiting.assembly.forget("lost")
    assert not waiting.assembly.holds("lost")
    assert waiting.assembly.holds("mine")
    (record,) = waiting.take(SPANS, root(), "again", 1.0).traces
    assert record["input_tokens"] == 1_000
    assert waiting.assembly.waiting_spans == 0


def test_a_source_of_which_nothing_came_can_be_forgotten() -> None:
    waiting = translator()
    waiting.assembly.forget("never")
    assert not waiting.assembly.holds("never")


@pytest.mark.parametrize("trace_id", [b"", bytes(16), b"short", bytes(17)])
def test_spans_without_a_trace_are_counted(trace_id: bytes) -> None:
    told = Telling()
    told.span("chat", {**CHAT, **EVALUATED}).trace_id = trace_id
    assert translator().take(SPANS, told.value, 0, 0.0).counts == Counter(spans_without_trace=1)


# ---- evaluations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["trace", "evaluation"])
def test_an_evaluation_becomes_an_outcome_with_the_context_of_its_trace(first: str) -> None:
    parts = [
        (SPANS, root(**CHAT, **{"stoploss.tenant": "acme"}), 0.0),
        (LOGS, logged("gen_ai.evaluation.result", SCORED), 1.0),
    ]
    out = together(translator(), *(parts if first == "trace" else parts[::-1]))
    (outcome,) = out.outcomes
    assert outcome["trace_id"] == TRACE.hex()
    assert (outcome["kind"], outcome["name"], outcome["value"]) == ("score", "helpfulness", 0.8)
    assert outcome["assignments"][0].experiment == EXPERIMENT
    assert (outcome["unit_id"], outcome["tenant"]) == ("user-7", "acme")


def test_an_evaluation_may_be_an_event_of_a_span() -> None:
    told = Telling()
    span = told.span("chat", {**CHAT, **EVALUATED})
    event(span, "gen_ai.evaluation.result", SCORED)
    assert [each["name"] for each in translator().take(SPANS, told.value, 0, 0.0).outcomes] == ["helpfulness"]


@pytest.mark.parametrize(("label", "value"), [("pass", 1.0), ("Fail", 0.0), ("not_relevant", 0.0), ("so-so", None)])
def test_a_label_counts_where_it_stands_for_itself(label: str, value: float | None) -> None:
    judged = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.label": label}
    out = together(translator(), (SPANS, root(**CHAT), 0.0), (LOGS, logged("gen_ai.evaluation.result", judged), 1.0))
    assert [each["value"] for each in out.outcomes] == ([] if value is None else [value])
    assert out.counts["evaluations_unusable"] == (value is None)


def test_p4_an_evaluation_of_a_trace_without_assignment_is_dropped() -> None:
    """P4: after a while, for its trace may be yet to come."""
    waiting = translator()
    waiting.take(LOGS, logged("gen_ai.evaluation.result", SCORED), "a", 0.0)
    assert waiting.assembly.holds("a")
    out = waiting.assembly.expire(WINDOW_S)
    assert out.counts == Counter(evaluations_unassigned=1)
    assert not waiting.assembly.holds("a")


def test_a_late_evaluation_may_name_the_assignment_itself() -> None:
    waiting = translator()
    waiting.take(LOGS, logged("gen_ai.evaluation.result", {**SCORED, **EVALUATED}), "a", 0.0)
    (outcome,) = waiting.assembly.expire(WINDOW_S).outcomes
    assert outcome["assignments"][0].variant == "small"
    assert outcome["unit_id"] == "user-7"


def test_the_assembly_is_empty_when_all_has_gone() -> None:
    waiting = translator()
    for place in range(20):
        waiting.take(SPANS, call(bytes([1 + place]) * 16), place, 0.0)
        waiting.take(LOGS, logged("gen_ai.evaluation.result", SCORED, trace_id=bytes([1 + place]) * 16), place, 0.0)
    waiting.assembly.expire(WINDOW_S)
    state: Assembly = waiting.assembly
    assert not any((state._waiting, state._held, state._whole, state.waiting_spans))

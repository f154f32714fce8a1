"""A guardrail looks anew only where something was folded, and says the same as if it looked each time."""

from __future__ import annotations

from dataclasses import replace

from stoploss.folding import moment_of
from stoploss.rules import AnyRule, rules_of
from stoploss.rules.cell_looks import Looks
from stoploss.rules.rows import Asked
from tests.timelines import EVERY_RULE, Timeline, spec, traces


def running() -> Timeline:
    timeline = Timeline(spec(EVERY_RULE)).started()
    for second in range(3):
        timeline.seconds(1)
        timeline.traces(traces(2_000, seed=second, users=3_000, cost_usd=1e-6, tenant="acme", language="de"))
    timeline.seconds(1)
    return timeline


def guardrails(timeline: Timeline) -> list[AnyRule]:
    return [rule for rule in rules_of(timeline.experiment) if rule.kind == "guardrail"]


def last_looks(timeline: Timeline) -> list[Looks]:
    return [timeline.it.current.rules[rule.key].last for rule in guardrails(timeline)]  # type: ignore[union-attr]


def test_a_second_without_rows_looks_at_what_it_has_looked_at_before() -> None:
    timeline = running()
    before = [(last.everybody.seen, last.segments.seen) for last in last_looks(timeline)]
    timeline.seconds(1)
    after = [(last.everybody.seen, last.segments.seen) for last in last_looks(timeline)]
    assert all(a is b for one, other in zip(before, after, strict=True) for a, b in zip(one, other, strict=True))
    timeline.traces(traces(500, seed=9, users=3_000, tenant="acme"))
    timeline.seconds(1)
    assert not any(last.everybody.seen is one[0] for last, one in zip(last_looks(timeline), before, strict=True))
    assert not any(last.segments.seen is one[1] for last, one in zip(last_looks(timeline), before, strict=True))


def test_what_was_looked_at_before_is_said_as_if_it_were_looked_at_anew() -> None:
    timeline = running()
    moment = moment_of(timeline.it, timeline.at, True, tuple(timeline.it.current.dimensions), Asked.ALL)
    for rule in guardrails(timeline):
        state = timeline.it.current.rules[rule.key]
        known = [replace(verdict, told=verdict.evidence) for verdict in rule.judge(state, moment)]
        state.last = Looks()  # type: ignore[union-attr]
        anew = [replace(verdict, told=verdict.evidence) for verdict in rule.judge(state, moment)]
        assert known == anew
        assert len(known) == 3


def test_a_closed_epoch_is_looked_at_anew() -> None:
    timeline = running()
    [before, *_] = [last.everybody.of for last in last_looks(timeline)]
    timeline.ask("pause")
    rule = guardrails(timeline)[0]
    assert timeline.it.current.rules[rule.key].totals[""].changes > before[0][0]  # type: ignore[union-attr]

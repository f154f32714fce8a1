from __future__ import annotations

import pytest

from stoploss.ledger import Source, SourceStatus
from stoploss.rules.rate_batch import BATCH, RateBatch
from tests.timelines import Timeline, actions, spec

OUTCOMES = Source("stoploss.outcomes", "uuid-of-outcomes", 0)
RESOLVED = Source("stoploss.outcomes_resolved", "uuid-of-resolved", 0)


class Joining:
    """A timeline in which the joiner says how many outcomes it could attach."""

    def __init__(self, extra: str = "health: {unresolved: {max: 0.05, do: hold}}") -> None:
        self.timeline = Timeline(spec(extra)).started()
        self.attached = self.lost = 0
        self.say()

    def say(self, source: Source = OUTCOMES) -> None:
        fact = SourceStatus(source, 0, 0, self.attached, self.lost, 0, 0, 0, (), self.timeline.at)
        self.timeline.append(fact)
        self.timeline.at += 1_000_000
        self.timeline.tick()

    def seconds(self, n: int, attached: int, lost: int) -> None:
        for _ in range(n):
            self.attached, self.lost = self.attached + attached, self.lost + lost
            self.say()


def test_outcomes_that_cannot_be_attached_hold_beyond_their_share() -> None:
    joining = Joining()
    joining.seconds(20, attached=45, lost=5)
    [finding] = joining.timeline.breaches
    assert (finding.reason, finding.severity) == ("outcomes_unresolved", "hold")
    assert "outcomes that could not be attached to a trace: 10.0 % (limit 5.0 %)" in finding.sentence
    assert joining.timeline.it.lifecycle == "holding"


def test_a_share_at_the_limit_holds_nothing() -> None:
    joining = Joining()
    joining.seconds(200, attached=19, lost=1)
    assert joining.timeline.breaches == []


def test_a_share_that_grows_after_a_long_time_is_seen_as_soon_as_at_first() -> None:
    joining = Joining()
    joining.seconds(100, attached=1_000, lost=0)
    joining.seconds(30, attached=90, lost=10)
    assert [finding.reason for finding in joining.timeline.breaches] == ["outcomes_unresolved"]


def test_what_intake_says_of_traces_is_not_counted() -> None:
    joining = Joining()
    joining.lost = 5_000
    joining.say(Source("stoploss.traces", "uuid-of-traces", 0))
    assert joining.timeline.breaches == []


def test_bare_outcomes_count_once_they_come_back_with_their_trace_or_without() -> None:
    joining = Joining()
    joining.say(RESOLVED)
    joining.attached, joining.lost = 100, 20
    joining.say(RESOLVED)
    state = joining.timeline.it.current.rules["unresolved"]
    assert (state.batch.bad, state.batch.trials) == (20, 120)  # type: ignore[union-attr]


def test_outcomes_without_a_trace_are_no_bad_records_that_blind_the_judge() -> None:
    joining = Joining("health: {blind: {hold: 1m, after: 2m}}")
    joining.say(RESOLVED)
    for _ in range(130):
        joining.lost += 50
        joining.say(RESOLVED)
    assert joining.timeline.it.current.sight.refused == 0.0


def test_a_worker_that_counts_anew_is_no_change() -> None:
    joining = Joining()
    joining.seconds(5, attached=100, lost=1)
    joining.attached = joining.lost = 0
    joining.seconds(5, attached=100, lost=1)
    state = joining.timeline.it.current.rules["unresolved"]
    assert (state.batch.bad, state.batch.trials) == (10, 1_010)  # type: ignore[union-attr]


def test_a_spec_may_pause() -> None:
    joining = Joining("health: {unresolved: {max: 0.05, do: pause}}")
    joining.seconds(20, attached=45, lost=5)
    assert actions(joining.timeline) == ["set_exposure", "pause"]


@pytest.mark.parametrize(("bad", "exceeds"), [(0, False), (10, False), (25, False), (40, True)])
def test_a_rate_exceeds_its_limit_beyond_doubt_only(bad: int, exceeds: bool) -> None:
    assert RateBatch(bad, 200).exceeds(0.05) is exceeds


def test_a_batch_is_renewed_when_it_is_full() -> None:
    batch = RateBatch(3, BATCH - 1)
    batch.renew()
    assert batch.trials == BATCH - 1
    batch.add(0, 1)
    batch.renew()
    assert (batch.bad, batch.trials, batch.rate) == (0, 0, None)

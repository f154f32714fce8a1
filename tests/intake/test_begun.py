"""Counts of services: only what has grown is begun."""

from __future__ import annotations

import pytest

from stoploss.emit.encoding import encode_count
from stoploss.errors import WireError
from stoploss.intake.begun import AssignmentCount, Begun, decode
from stoploss.ledger import AssignmentsCounted, BegunCount


def count(n: int, instance: str = "a", variant: str = "small", experiment: str = "checkout") -> AssignmentCount:
    return AssignmentCount("service", instance, 0, experiment, variant, n, 10.0)


def begun(*counts: AssignmentCount) -> dict[str, dict[str, int]]:
    state = Begun()
    for one in counts:
        state.take(one)
    return {fact.experiment: {each.variant: each.count for each in fact.begun} for fact in state.facts("s")}


def test_what_has_grown_is_begun_and_instances_variants_and_experiments_add_up() -> None:
    counts = [count(5), count(3, "b"), count(1, variant="current"), count(0, experiment="other")]
    later = [count(9), count(4, "b"), count(1, variant="current"), count(6, experiment="other")]
    assert begun(*counts, *later) == {"checkout": {"small": 5}, "other": {"small": 6}}


def test_the_first_count_of_an_instance_is_where_it_is_counted_from() -> None:
    """A worker that takes over hears old instances for the first time: their past is not begun anew."""
    assert begun(count(1_000_000)) == {}


def test_a_lost_count_is_made_up_for_by_the_next_and_a_repeated_or_older_one_adds_nothing() -> None:
    assert begun(count(0), count(10), count(10), count(7), count(12)) == {"checkout": {"small": 12}}


def test_what_was_told_is_not_told_again() -> None:
    state = Begun()
    for number in (0, 4):
        state.take(count(number))
    assert state.facts("s") == [AssignmentsCounted("checkout", (BegunCount("small", 4),), "s")]
    assert state.facts("s") == []


def test_memory_is_bounded_by_the_instances_heard_last() -> None:
    state = Begun(most=10)
    for number in range(1_000):
        state.take(count(0, instance=f"i{number}"))
    state.take(count(5, instance="i0"))
    state.take(count(5, instance="i999"))
    assert [fact.begun for fact in state.facts("s")] == [(BegunCount("small", 5),)]
    assert len(state._counts) == 10


def test_what_the_sdk_sends_is_read_and_anything_else_is_refused() -> None:
    fields = {"service": "s", "instance": "i", "at": 7, "experiment": "checkout", "variant": "small", "count": 3}
    sent = encode_count({**fields, "interval_s": 10.0}).value
    assert decode(sent) == AssignmentCount("s", "i", 7, "checkout", "small", 3, 10.0)
    for bad in (b"", None, b"nonsense", sent[:-1], sent + b"x"):
        with pytest.raises(WireError):
            decode(bad)

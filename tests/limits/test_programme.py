"""X3: who runs, by the journals of all partitions and the requests that no judge has answered yet."""

from __future__ import annotations

from stoploss.journal import Conclusion, JournalEntry, LifecycleChanged, RequestHandled
from stoploss.ledger import Request
from stoploss.limits.programme import MOST_ANSWERED, PATIENCE, Programme
from stoploss.registry import RegistryEntry

NOW = 1_790_000_000_000_000
KNOWN = frozenset({"a", "b"})


def said(conclusion: Conclusion, experiment: str = "a") -> JournalEntry:
    return JournalEntry("id", experiment, 0, 1, 0, NOW, 0, 0, 0, "", conclusion)


def answer(accepted: bool, request_id: str = "r1") -> JournalEntry:
    return said(RequestHandled(request_id, "start", "ada", accepted, ""))


def asked(experiment: str = "a", request_id: str = "r1", action: str = "start") -> Request:
    return Request(request_id, experiment, action, "ada", "", NOW)


def beside(programme: Programme, now: int = NOW, known: frozenset[str] = KNOWN) -> list[str]:
    return programme.beside("somebody else", known, now)


def test_a_request_that_was_let_through_counts_until_the_judge_has_refused_it() -> None:
    programme = Programme()
    programme.let_through(asked(), NOW)
    assert beside(programme) == ["a"]
    assert beside(programme, NOW + 1_000 * PATIENCE) == ["a"]
    programme.hear(answer(accepted=False))
    assert beside(programme) == []


def test_an_experiment_runs_from_the_answer_to_the_end_that_the_journal_names() -> None:
    programme = Programme()
    programme.let_through(asked(), NOW)
    programme.hear(answer(accepted=True))
    programme.hear(said(LifecycleChanged("registered", "running", "")))
    assert beside(programme) == ["a"]
    programme.hear(said(LifecycleChanged("running", "holding", "")))
    assert beside(programme) == ["a"]
    programme.hear(said(LifecycleChanged("holding", "rolled_back", "")))
    assert beside(programme) == []


def test_the_end_of_one_leaves_the_others() -> None:
    programme = Programme({"a", "b"})
    programme.hear(said(LifecycleChanged("running", "stopped", "")))
    assert beside(programme) == ["b"]


def test_a_request_that_is_read_again_after_its_answer_waits_for_no_second_one() -> None:
    programme = Programme()
    programme.hear(answer(accepted=False))
    programme.let_through(asked(), NOW)
    assert beside(programme) == []


def test_one_whose_registration_was_refused_is_waited_for_a_minute() -> None:
    programme = Programme()
    programme.let_through(asked("ghost"), NOW)
    assert beside(programme, NOW + PATIENCE - 1) == ["ghost"]
    assert beside(programme, NOW + PATIENCE) == []


def test_only_what_begins_a_run_counts() -> None:
    programme = Programme()
    programme.let_through(asked(action="ramp"), NOW)
    assert beside(programme) == []


def test_what_is_remembered_of_answers_is_bounded() -> None:
    programme = Programme()
    for number in range(MOST_ANSWERED + 10):
        programme.hear(answer(True, f"r{number}"))
    assert len(programme.answered) == MOST_ANSWERED


def test_the_registry_says_who_runs_at_the_beginning() -> None:
    entries = [
        RegistryEntry(name, 0, "", "", state, 1, 1, 1, "current", 0.5, (), None, changed_at=NOW, offset=1)
        for name, state in (("a", "running"), ("b", "holding"), ("c", "paused"), ("d", "completed"), ("e", "adopted"))
    ]
    programme = Programme.of(entries)
    assert (beside(programme), programme.adopted) == (["a", "b"], {"e"})


def test_what_is_adopted_runs_no_more_as_an_experiment_until_it_is_resumed() -> None:
    """X3"""
    programme = Programme({"a"})
    programme.hear(said(LifecycleChanged("running", "adopted", "")))
    assert (beside(programme), programme.adopted) == ([], {"a"})
    programme.hear(said(LifecycleChanged("adopted", "stopped", "")))
    assert (beside(programme), programme.adopted) == ([], set())

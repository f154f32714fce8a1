"""V2: replay of a stored ledger: byte for byte by the same version, span by span where several versions judged it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from stoploss import journal, ledger
from stoploss.journal import Finding
from stoploss.ledger import Entry, JudgeVersion
from stoploss.replay import Recorded, StoredEntry, reproduce
from tests.timelines import Timeline, Traces, chain_holds, spec, traces, with_gate

TOPIC = "stoploss.control"
OLD = JudgeVersion(0, "0.1.0", "3.11", "2.3", "0.26.1", "2025b", "Gate@1")
NEW = replace(OLD, stoploss="0.2.0", rules="Gate@2")
GUARDRAIL = "guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.1}, action: rollback}]"


def stored(entries: Iterable[Entry]) -> list[StoredEntry]:
    return [StoredEntry(0, entry.offset, entry.at, ledger.encode(entry.fact)) for entry in entries]


def recorded(timeline: Timeline, values: Sequence[bytes] | None = None) -> Recorded:
    journal_of = timeline.journal if values is None else values
    return Recorded(timeline.experiment.name, 0, stored(timeline.entries), journal_of, "memory")


def judged_by_two() -> Timeline:
    return judged_by(OLD, NEW)


def judged_by(old: JudgeVersion, new: JudgeVersion) -> Timeline:
    """A card number in control holds the run while the old version judges; one of the treatment stops it later."""
    timeline = Timeline()
    timeline.append(old)
    timeline.started()
    timeline.seconds(1)
    timeline.traces(tripped(1, arm=0))
    timeline.seconds(2)
    timeline.append(new)
    timeline.seconds(1)
    timeline.traces(tripped(2, arm=1))
    timeline.seconds(3)
    return timeline


def tripped(seed: int, arm: int) -> Traces:
    some = traces(50, seed=seed)
    return with_gate(some, int((some.variant == arm).argmax()), 0)


def rechained(values: Sequence[bytes], at: int, sentence: str) -> list[bytes]:
    """The journal of a judge that put the finding of entry `at` in other words: all later entries are chained to it."""
    entries = [journal.decode(value) for value in values]
    said = entries[at].conclusion
    assert isinstance(said, Finding)
    entries[at] = replace(entries[at], conclusion=replace(said, sentence=sentence))
    chained: list[bytes] = []
    previous = journal.GENESIS
    for entry in entries:
        chained.append(journal.encode(replace(entry, previous=previous)))
        previous = journal.hash_of(chained[-1])
    assert chain_holds(chained)
    return chained


def findings(timeline: Timeline) -> list[int]:
    entries = [journal.decode(value) for value in timeline.journal]
    return [entry.number for entry in entries if isinstance(entry.conclusion, Finding)]


def test_what_one_version_judged_is_reproduced_byte_for_byte() -> None:
    found = reproduce(recorded(judged_by_two()), NEW, TOPIC)
    assert found.identical
    assert found.holds
    assert found.stored == found.replayed == len(judged_by_two().journal)


def test_a_ledger_that_two_versions_judged_is_compared_span_by_span() -> None:
    timeline = judged_by_two()
    old, new = reproduce(recorded(timeline), NEW, TOPIC).spans
    assert (old.version, old.mine, old.outcome) == (OLD, False, "reproduced")
    assert (new.version, new.mine, new.outcome) == (NEW, True, "reproduced")
    assert old.first_offset == 0
    assert timeline.entries[new.first_offset].fact == NEW
    assert old.entries + new.entries == len(timeline.journal)


def test_entries_before_the_first_version_belong_to_it_for_nobody_judged_before() -> None:
    timeline = Timeline().started()
    timeline.append(OLD)
    timeline.ask("pause")
    (span,) = reproduce(recorded(timeline), OLD, TOPIC).spans
    assert (span.version, span.first_offset, span.entries) == (OLD, 0, len(timeline.journal))


def test_a_version_that_takes_over_from_itself_begins_no_span() -> None:
    timeline = Timeline()
    timeline.append(OLD)
    timeline.started()
    timeline.append(OLD)
    timeline.seconds(1)
    assert len(reproduce(recorded(timeline), OLD, TOPIC).spans) == 1


def test_a_difference_in_another_versions_span_is_told_and_does_not_fail() -> None:
    """The hashes of all later entries differ with it; what they say is the same."""
    timeline = judged_by_two()
    values = rechained(timeline.journal, findings(timeline)[0], "in the words of the old version")
    found = reproduce(recorded(timeline, values), NEW, TOPIC)
    old, new = found.spans
    assert (found.identical, found.holds) == (False, True)
    assert (old.outcome, new.outcome) == ("differs", "reproduced")
    assert old.difference is not None
    assert old.difference.number == findings(timeline)[0]
    assert "in the words of the old version" in (old.difference.expected or "")
    assert "in the words of the old version" not in (old.difference.found or "")


def test_a_difference_in_a_span_of_this_version_fails() -> None:
    timeline = judged_by_two()
    values = rechained(timeline.journal, findings(timeline)[0], "in other words")
    found = reproduce(recorded(timeline, values), OLD, TOPIC)
    assert not found.holds
    assert [span.mine for span in found.spans] == [True, False]


def test_what_differs_behind_another_versions_difference_cannot_be_told() -> None:
    """The state that the span began with was another one: judge it with the version before to know."""
    timeline = judged_by_two()
    first, *_, last = findings(timeline)
    values = rechained(rechained(timeline.journal, first, "other words"), last, "other words again")
    old, new = reproduce(recorded(timeline, values), NEW, TOPIC).spans
    assert (old.outcome, new.outcome) == ("differs", "undecided")


@pytest.mark.parametrize("change", ["one is missing at the end", "one stands twice", "one is missing at the start"])
def test_a_journal_that_is_not_whole_differs(change: str) -> None:
    timeline = judged_by_two()
    values = list(timeline.journal)
    altered = {
        "one is missing at the end": values[:-2] + values[-1:],
        "one stands twice": [*values, values[-1]],
        "one is missing at the start": values[1:],
    }[change]
    assert not reproduce(recorded(timeline, altered), None, TOPIC).holds


def test_without_a_version_in_the_ledger_everything_must_be_reproduced() -> None:
    timeline = Timeline().started()
    timeline.traces(tripped(1, arm=1))
    values = rechained(timeline.journal, findings(timeline)[0], "in other words")
    found = reproduce(recorded(timeline, values), NEW, TOPIC)
    assert (found.spans[0].version, found.holds) == (None, False)


def test_what_lies_behind_the_stored_journal_is_not_compared() -> None:
    """The recorder may have the ledger further than the journal."""
    timeline = judged_by_two()
    short = [value for value in timeline.journal if journal.decode(value).ledger_offset < 8]
    found = reproduce(recorded(timeline, short), OLD, TOPIC)
    assert (found.identical, found.stored, found.replayed) == (True, len(short), len(short))


def test_a_journal_does_not_depend_on_the_neighbours_of_its_experiment() -> None:
    """An archive has one experiment's entries of a ledger partition, and replays to the same bytes."""
    text = spec(GUARDRAIL)
    neighbour = Timeline(text.replace("checkout", "another"))
    neighbour.started()
    timeline = Timeline(text, state=neighbour.state)
    timeline.entries = neighbour.entries
    timeline.started()
    for seed in range(6):
        timeline.seconds(1)
        for one in (neighbour, timeline):
            one.at, one.entries = timeline.at, timeline.entries
            one.traces(traces(400, seed=seed, error_rate=(0.02, 0.5)))
    timeline.seconds(3)
    kept = [entry for entry in timeline.entries if getattr(entry.fact, "experiment", "checkout") == "checkout"]
    assert len(kept) < len(timeline.entries)
    mine = [value for value in timeline.journal if journal.decode(value).experiment == "checkout"]
    found = reproduce(Recorded("checkout", 0, stored(kept), mine, "an archive"), None, TOPIC)
    assert found.identical, found.spans

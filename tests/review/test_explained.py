"""An explanation fits one screen and says where everything stands."""

from __future__ import annotations

from collections.abc import Sequence

from stoploss.review.cells import Cells
from stoploss.review.explained import headline, sections
from stoploss.review.explanation import Explanation, explanation, with_lineage
from stoploss.review.lineage import Lineage, TraceRange, TrippedTrace
from stoploss.store.rows import CommandWithAcks, ExposuresAfterStop, TimelineEntry
from tests.review.rows import ack, asked, entry, finding, issued, published, served, status

STORY = [
    asked(0, "register", run=0),
    asked(1, "start", run=0),
    entry("epoch_opened", 2, {"epoch": 1, "exposure": 0.5}),
    finding(9, ledger_offset=41),
    issued(10, ledger_offset=41),
]


def told(
    timeline: Sequence[TimelineEntry] = STORY,
    commands: Sequence[CommandWithAcks] = (),
    counted: Sequence[ExposuresAfterStop] = (),
) -> Explanation:
    return explanation(
        status(lifecycle="rolled_back", exposure=0.0), timeline, commands, {"c-1": "0a1b2c3d"}, counted, Cells(20)
    )


def lines_of(explained: Explanation, title: str) -> str:
    return "\n".join(next(section.lines for section in sections(explained, "stoploss") if section.title == title))


def test_the_chain_stands_in_the_order_in_which_it_happened() -> None:
    titles = [section.title for section in sections(told(counted=[served(4, 2)]), "stoploss")]
    assert titles == ["Requests", "Epochs", "Findings", "Commands", "Exposures after the stop", "Traces behind it"]


def test_what_was_amended_stands_beside_every_verdict_however_long_ago() -> None:
    """X10"""
    story = [asked(0, "register", run=0), asked(1, "amend", run=0), *(asked(2 + n, "note") for n in range(6))]
    assert "amend by ada: accepted" in lines_of(told(story), "Amended since it was registered")
    assert "amend by" not in lines_of(told(story), "Requests")


def test_a_finding_is_told_with_both_numbers_and_where_it_stands() -> None:
    text = lines_of(told(), "Findings")
    assert "6 against 4.6; n = 700 control and 650 treatment" in text
    assert "[ledger 0/41, journal 9 entry-9…]" in text


def test_a_command_is_told_with_its_key_and_the_delay_of_every_answer() -> None:
    text = lines_of(told(commands=[published((ack("received", 10.045), ack("applied", 11.5)))]), "Commands")
    assert "signed by key 0a1b2c3d" in text
    assert "flagd/one: received after 45 ms; flagd/one: applied after 1.50 s" in text


def test_a_controller_that_has_not_applied_is_named() -> None:
    text = lines_of(told(commands=[published(controllers=["flagd", "gateway"], times_sent=3)]), "Commands")
    assert "flagd: not applied yet; gateway: not applied yet" in text
    assert "sent 3 times" in text


def test_a_command_that_is_not_stored_yet_says_so() -> None:
    assert "published, but not stored yet" in lines_of(told(), "Commands")


def test_exposures_that_never_were_are_not_dated() -> None:
    text = lines_of(told(counted=[served(4, 0)]), "Exposures after the stop")
    assert text.startswith("4 in flight at the decision, 0 begun after it; first harm ")
    assert "no data" not in text


def test_what_happened_before_the_last_few_is_counted_not_listed() -> None:
    many = [finding(number) for number in range(10, 40)]
    shown = lines_of(told(timeline=many), "Findings")
    assert shown.startswith("(26 earlier: --json)")
    assert "entry-39" in shown
    assert "entry-35" not in shown


def test_an_experiment_in_which_nothing_happened_says_so() -> None:
    empty = told(timeline=[])
    assert [section.lines for section in sections(empty, "stoploss")] == [
        ("no request is recorded",),
        ("no epoch has opened: no variant is compared yet",),
        ("none: no verdict has changed in this run",),
        ("none in this run",),
        ("no command of this run came from a finding",),
    ]
    assert headline(empty).startswith("checkout: rolled_back · run 1, epoch 1 · exposure 0 %")


def test_the_traces_behind_a_finding_come_with_the_statement_that_shows_them() -> None:
    place = told().findings[0].place
    ranges = (TraceRange("stoploss.traces", "uuid", 0, 100, 219, 120),)
    tripped = (TrippedTrace("stoploss.traces", "uuid", 0, 101, "t-101"),)
    text = lines_of(with_lineage(told(), [Lineage(place, "evidence_block", ranges, tripped)]), "Traces behind it")
    assert "ledger 0/41 tipped it: 120 traces from stoploss.traces, partition 0, offsets 100 to 219" in text
    assert "tripped by trace t-101: stoploss.traces, partition 0, offset 101" in text
    assert "SELECT * FROM stoploss.traces_v WHERE topic_uuid = 'uuid' AND partition = 0 AND offset = 101" in text


def test_a_verdict_at_a_tick_and_an_entry_that_is_gone_say_so() -> None:
    place = told().findings[0].place
    both = with_lineage(told(), [Lineage(place, "tick", (), ()), Lineage(place, "not stored", (), ())])
    text = lines_of(both, "Traces behind it")
    assert "a tick: the verdict rests on all evidence of the run before it" in text
    assert "the entry is not stored in ClickHouse" in text

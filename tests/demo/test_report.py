"""The report as data and on the screen: nothing is cut, in 80 columns or in 120, and no data is never 0."""

from __future__ import annotations

import doctest
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from stoploss.commands import Ack, AckStatus, Action, Command, Evidence
from stoploss.demo import narrator, showing
from stoploss.demo.narrator import Narrator
from stoploss.demo.observers import SeenAck, SeenCommand
from stoploss.demo.report import Report, Story, timestamp
from stoploss.errors import ConfigurationError
from stoploss.journal import Conclusion, ExposuresCounted, Finding, JournalEntry

KEYS = {
    "traces_sent",
    "traces_stored",
    "dead_lettered",
    "experiments",
    "commands",
    "first_harm_at",
    "command_at",
    "seconds_harm_to_command",
    "seconds_command_to_flag",
    "exposures_after_stop",
    "journal_entries",
    "replay_identical",
    "traces_per_second",
    "versions",
}
REASON = (
    "error_rate is worse than allowed: 0.04251 with 'small' against 0.02191 with 'current' (effect between 25.9 % and "
    "160.9 %, margin 25.0 %; log evidence 5.464, limit 5.298; 4,399 and 4,335 traces)"
)
NOTICE = "output_tokens: both arms drifted alike: the provider or the traffic changed, not the variant"
AT_S = 1_700_000_000.0


def told() -> Report:
    harmed = Story(
        "checkout-agent-model",
        "becomes 1.4 times as slow",
        "slow-regression",
        "rolled_back",
        action="rollback",
        reason=REASON,
        seconds_harm_to_command=12.3,
        seconds_command_to_flag=0.168,
        in_flight_at_stop=163,
        exposures_after_stop=0,
        replay_identical=True,
    )
    calm = Story("answer-style-aa", "nothing: both variants are alike", "aa", "holding", notices=[NOTICE])
    return Report(
        "everything is drawn",
        traces_sent=20_000,
        traces_stored=20_000,
        dead_lettered=3,
        malformed_sent=3,
        experiments=[harmed, calm],
        alerts=["StoplossRollback checkout-agent-model"],
        journal_entries=55,
        replay_identical=True,
        traces_per_second=443.3,
    )


def screen(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, markup=False, highlight=False, color_system=None)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def shown(report: Report, width: int) -> str:
    console = screen(width)
    showing.show(report, console)
    return text(console)


@pytest.mark.parametrize("width", [80, 120])
def test_no_sentence_is_cut_and_no_line_is_wider_than_the_screen(width: int) -> None:
    lines = shown(told(), width).splitlines()
    assert max(map(len, lines)) <= width
    assert REASON in " ".join(" ".join(lines).split())
    assert NOTICE in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("width", [80, 120])
def test_an_experiment_is_one_line_of_the_table(width: int) -> None:
    rows = [line.split() for line in shown(told(), width).splitlines()]
    assert ["checkout-agent-model", "rollback", "12.3", "s", "168", "ms", "0", "requests"] in rows
    assert ["answer-style-aa", "nothing,", "holding"] in rows


def test_a_replay_that_differs_is_shown_as_such() -> None:
    report = told()
    report.replay_identical = False
    assert "NO  a replay of the ledger reproduces the journal" in shown(report, 120)


def test_lost_traces_are_shown() -> None:
    report = told()
    report.traces_dropped = 7
    assert "(7 were lost on the way to Kafka)" in shown(report, 120)


def test_the_written_report_has_every_key_and_null_for_what_did_not_happen(tmp_path: Path) -> None:
    told().write(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written.keys() >= KEYS
    assert written["first_harm_at"] is None
    assert written["experiments"][1]["seconds_harm_to_command"] is None


def test_a_report_that_cannot_be_written_is_refused_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absent"):
        told().write(tmp_path / "absent" / "report.json")


def test_a_timestamp_has_milliseconds_and_its_zone() -> None:
    assert timestamp(AT_S + 0.25) == "2023-11-14T22:13:20.250Z"


# ---- the voice -------------------------------------------------------------------------------------


def command(action: Action, exposure: float, reason: str) -> Command:
    return Command(
        command_id="c1",
        experiment="checkout",
        run=1,
        epoch=1,
        sequence=1,
        action=action,
        flag="checkout",
        release_variant="current",
        control_variant="current",
        treatment_variant="small",
        exposure=exposure,
        stopped_segments=(),
        reason=reason,
        evidence=None,
        decided_at=0,
        expires_at=None,
        dry_run=False,
        topic="control",
        controllers=("flagd",),
    )


def applied() -> SeenAck:
    ack = Ack("c1", "checkout", 1, 1, "flagd", "one", AckStatus.APPLIED, "", 0)
    return SeenAck(ack, AT_S)


def entry(conclusion: Conclusion) -> JournalEntry:
    return JournalEntry("e1", "checkout", 1, 1, 1, round(AT_S * 1e6), 0, 0, 0, "", conclusion)


def heard(*events: SeenCommand | SeenAck | JournalEntry, width: int = 120) -> list[str]:
    console = screen(width)
    voice = Narrator(console)
    for event in events:
        voice.hear(event)
    return [line.strip() for line in text(console).splitlines()]


def test_a_stop_is_told_with_its_reason_and_then_with_the_flag() -> None:
    stop = SeenCommand(command(Action.ROLLBACK, 0.0, "rollback 'checkout': gate was tripped [card]"), AT_S, AT_S)
    assert heard(stop, applied()) == [
        "22:13:20  rollback     checkout: gate was tripped [card]",
        "22:13:20  flag         checkout: everybody gets 'current'",
    ]


def test_a_start_is_told_once_it_is_applied() -> None:
    start = SeenCommand(command(Action.SET_EXPOSURE, 0.5, "start 'checkout' asked for by root"), AT_S, AT_S)
    assert heard(start) == []
    assert heard(start, applied()) == ["22:13:20  flag         checkout: 50 % of the users get 'small'"]


def test_an_answer_that_is_here_before_its_command_is_told_too() -> None:
    assert heard(applied()) == ["22:13:20  flag         the flag of checkout is as commanded"]


def test_breaches_without_a_command_and_exposures_after_a_stop_are_told() -> None:
    evidence = Evidence("drift", 1)
    notice = entry(Finding("breach", "world_moved", NOTICE, "hold", evidence))
    quiet = entry(Finding("safe", "evidence_of_safety", "all is well", "info", evidence))
    counted = entry(ExposuresCounted("c1", 81, 0, None, None))
    assert heard(notice, quiet, counted, width=160) == [
        f"22:13:20  notice       checkout: {NOTICE}",
        "22:13:20  after stop   checkout: 81 requests were in flight, 0 began afterwards",
    ]


@pytest.mark.parametrize("module", [narrator, showing])
def test_the_examples_in_docstrings_hold(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert not found.failed

"""Tables on a terminal: every column is there, and hostile names are plain text."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Literal

from rich.console import Console, RenderableType

from stoploss.review.frames import FrameRows, frame
from stoploss.review.overview import ExperimentStatus
from stoploss.review.tables import status_table, watch_table
from tests.review.rows import GUARDED, NOW, arm, experiment, finding, published, status, verdict

SHOWN = ExperimentStatus(
    "checkout", "running", 1, 2, 0.05, "current", ("tenant=acme",), NOW, None, "iterate", ("windows",), None
)
RED = "\x1b[1;31m"
HOSTILE = "[red]\x1b[2Jx[/red]"


def rendered(renderable: RenderableType, width: int = 220, colours: Literal["standard"] | None = None) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=colours, force_terminal=True).print(renderable)
    return stream.getvalue()


def test_status_shows_state_exposure_segments_and_what_is_not_enforced() -> None:
    text = rendered(status_table([SHOWN]), width=80)
    for part in ("running", "1/2", "5 %", "current", "tenant=acme", "not enforced yet: windows"):
        assert part in text
    assert "2026-03-01 09:30:00 UTC" in rendered(status_table([SHOWN]))


def test_of_an_experiment_with_nothing_more_to_say_status_has_a_row_and_no_more() -> None:
    quiet = replace(SHOWN, stopped_segments=(), not_enforced=())
    assert rendered(status_table([quiet])).splitlines()[-1].startswith("└")


def test_status_shows_what_was_served_after_the_stop_and_how_long_harm_lasted() -> None:
    stopped = replace(SHOWN, lifecycle="stopped", in_flight=3, after_stop=1_200, harm_to_last_s=7.25)
    assert (
        "  served after the stop: 3 in flight, 1,200 begun after it; "
        "7.2 s from the first harmful trace to the last exposure\n"
    ) in rendered(status_table([stopped]))
    assert "not counted yet" in rendered(status_table([replace(stopped, in_flight=None)]))


def test_status_says_where_the_ramp_stands() -> None:
    assert "  ramp: the stage of 0.05 is held\n" in rendered(
        status_table([replace(SHOWN, ramp="the stage of 0.05 is held")])
    )


def test_status_shows_what_people_owe_and_stresses_what_is_overdue() -> None:
    """X5, G7"""
    looks, risk = "a new look at 'price' is overdue since 2026-03-01", "a new assessment is due on 2026-04-01"
    late = rendered(
        status_table([replace(SHOWN, due=(looks, risk), overdue=(looks,), overdue_since=NOW.date())]),
        colours="standard",
    )
    assert f"{RED}  overdue: {looks}" in late
    assert f"  owed by people: {risk}\n" in late
    assert f"owed by people: {looks}" not in late


def test_status_says_when_a_spec_cannot_be_read() -> None:
    text = rendered(status_table([replace(SHOWN, not_enforced=None, spec_fault="line 2 is wrong")]))
    assert "spec cannot be read: line 2 is wrong" in text


def test_without_experiments_the_way_to_the_first_is_shown() -> None:
    assert "stoploss register FILE.yaml" in rendered(status_table([]))
    assert "stoploss register FILE.yaml" in rendered(watch_table([], NOW))


def test_names_are_neither_markup_nor_control_codes() -> None:
    text = rendered(status_table([replace(SHOWN, experiment=HOSTILE)]))
    assert "[red]?[2Jx[/red]" in text
    assert "\x1b" not in text


def test_watch_shows_arms_verdicts_with_limits_and_margin_and_the_last_command() -> None:
    rows = FrameRows(arms=[arm(n=1_200)], verdicts=[verdict()], commands=[published()], findings=[finding(3, run=0)])
    text = rendered(watch_table([frame(status(), experiment(GUARDED), rows)], NOW))
    flat = " ".join(text.replace("│", " ").split())
    for part in ("current: 1,200", "small: no data", "rollback", "waiting for flagd", "read at 2026-03-01"):
        assert part in flat
    assert "latency_ms (geometric mean) undecided: +5 % (-2 % to +12 %)" in flat
    assert "helpfulness not judged: no data (no interval yet)" in flat

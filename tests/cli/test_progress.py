"""Where there is no terminal, progress is a line now and then; what is done at once says nothing."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from stoploss.cli.progress import Lines, progress, working


class Log(io.StringIO):
    """Tells when the first line has come."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def flush(self) -> None:
        self.told.set()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(seconds_per_part: float, parts: int) -> list[str]:
    now_s, out = [100.0], io.StringIO()
    lines = Lines("sending", parts, out, lambda: now_s[0])
    for _ in range(parts):
        now_s[0] += seconds_per_part
        lines.advance()
    return out.getvalue().splitlines()


def test_what_takes_less_than_two_seconds_says_nothing() -> None:
    assert lines_of(0.001, 1_900) == []


def test_a_line_comes_after_two_seconds_and_then_every_ten() -> None:
    assert lines_of(1.0, 30) == [
        "sending: 2 of 30, 2 s",
        "sending: 12 of 30, 12 s",
        "sending: 22 of 30, 22 s",
    ]


def test_the_end_is_no_line_for_the_answer_follows() -> None:
    assert lines_of(60.0, 1) == []


def test_a_terminal_gets_a_bar_on_stderr_without_colour_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress("sending", 2) as advance:
        advance()
        advance()
    assert "sending" in terminal.getvalue()
    assert "\x1b[3" not in terminal.getvalue()
    assert not capsys.readouterr().out


def test_what_does_not_know_how_far_it_is_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stoploss.cli.progress.FIRST_S", 0.01)
    monkeypatch.setattr(sys, "stderr", log := Log())
    with working("replaying"):
        assert log.told.wait(60)
    assert log.getvalue().startswith("replaying: ")
    assert not capsys.readouterr().out


def test_what_ends_soon_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoploss.cli.progress.FIRST_S", 3_600.0)
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    with working("replaying"):
        pass
    assert not log.getvalue()

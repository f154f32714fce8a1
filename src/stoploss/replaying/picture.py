"""Recorded and other rules as an SVG: for each run, when each rule spoke, on an axis of time."""

from __future__ import annotations

from collections.abc import Iterator

from stoploss import drawing
from stoploss.drawing import AMBER, FAINT, GREEN, INK, RED, WIDTH, text
from stoploss.replaying.other_rules import OtherRules, RuleCompared, RunCompared, Word
from stoploss.replaying.tables import clock

LEFT, RIGHT, TOP, ROW, RUN, FOOT = 330, 60, 64, 24, 54, 40
COLOURS = {"new stop": RED, "sooner": GREEN, "same": INK}
TICKS = 5


def picture(found: OtherRules, file: str) -> str:
    """A dot where the recorded rule spoke, a ring where the other would have."""
    body = [text(20, 30, f"{found.experiment}: as recorded, and under {file}", "h")]
    y: float = TOP
    for run in found.runs:
        body += _run(run, y)
        y += RUN + ROW * max(1, len(run.rules)) + ROW / 2
    words = "dot: as recorded; ring: under the other rules (red: a new stop, green: sooner, amber: else)"
    body.append(text(20, y + FOOT / 2, words, "s"))
    return drawing.document(f"{found.experiment}: recorded and other rules", y + FOOT, body)


def _run(run: RunCompared, top: float) -> Iterator[str]:
    words = f"run {run.run}: {run.exposures_saved:,} exposures saved, about {run.exposures_added:,} added"
    yield text(20, top + 16, words)
    bottom = top + RUN + ROW * max(1, len(run.rules))
    longest = max(run.recorded_hours, 1 / 3_600)
    for tick in range(TICKS + 1):
        x = _x(tick / TICKS)
        yield drawing.upright(x, top + RUN - 8, bottom)
        yield text(x, top + RUN - 14, clock(longest * tick / TICKS), "s", "middle")
    if not run.rules:
        yield text(20, bottom - ROW / 2 + 4, "no rule spoke in either", "s")
    for number, rule in enumerate(run.rules):
        yield from _rule(rule, longest, top + RUN + ROW * (number + 0.5))


def _rule(rule: RuleCompared, longest_hours: float, y: float) -> Iterator[str]:
    name = f"{rule.rule} {rule.stream}".strip()
    yield text(20, y + 4, name if len(name) < 46 else f"{name[:45]}…")
    for word in filter(None, (rule.recorded, rule.other)):
        yield drawing.upright(_at(word, longest_hours), y - 9, y + 9, FAINT)
    if rule.recorded is not None:
        yield drawing.dot(_at(rule.recorded, longest_hours), y, INK, 4)
    if rule.other is not None:
        yield drawing.ring(_at(rule.other, longest_hours), y, COLOURS.get(rule.change, AMBER), 7)


def _at(word: Word, longest_hours: float) -> float:
    return _x(min(1.0, word.hours / longest_hours))


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)

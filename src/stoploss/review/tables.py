"""Status, frames and explanations as rich tables and lines. Text is taken literally: no markup, no control codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stoploss.review.explained import headline, sections
from stoploss.review.explanation import Explanation
from stoploss.review.frames import Frame, LastCommand
from stoploss.review.guardrails import (
    GuardrailResult,
    effect_text,
    interval_text,
    margin_text,
    metric_text,
)
from stoploss.review.overview import ExperimentStatus
from stoploss.review.recommended import WORDS
from stoploss.review.words import NO_DATA, count, listed, printable, share, utc

LIFECYCLE_STYLE = {
    "running": "green",
    "adopted": "green",
    "holding": "yellow",
    "paused": "yellow",
    "stopped": "bold red",
    "rolled_back": "bold red",
}
ID_DIGITS = 12
VERDICT_STYLE = {"breach": "bold red", "safe": "green"}
NONE_REGISTERED = "No experiment is registered yet; register one with `stoploss register FILE.yaml`."


def text(value: str, style: str = "") -> Text:
    return Text(printable(value), style=style)


def lines(values: Iterable[str]) -> Text:
    return Text("\n".join(map(printable, values)))


def _table(title: str | None, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", show_lines=True)
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def status_table(statuses: Sequence[ExperimentStatus]) -> RenderableType:
    """A row for each experiment; below, what else there is to say of each, which most have little of."""
    if not statuses:
        return text(NONE_REGISTERED)
    headers = ("experiment", "lifecycle", "run/epoch", "exposure", "release variant", "last change", "recommended")
    table = _table(None, *headers)
    for status in statuses:
        table.add_row(
            text(status.experiment),
            text(status.lifecycle, LIFECYCLE_STYLE.get(status.lifecycle, "")),
            text(f"{status.run}/{status.epoch}"),
            text(share(status.exposure)),
            text(status.release_variant),
            text(f"{status.changed_at:%Y-%m-%d %H:%M:%S} UTC"),
            text(status.recommendation or "nothing yet"),
        )
    return Group(table, *(note for status in statuses for note in _notes(status)))


def _notes(status: ExperimentStatus) -> Iterator[Text]:
    """What there is to say beside its row, under its name; nothing where nothing is."""
    said = list(_said(status))
    if said:
        yield text(status.experiment, "bold")
    for title, phrase, style in said:
        yield Text(f"  {title}: {printable(phrase)}", style=style)


def _said(status: ExperimentStatus) -> Iterator[tuple[str, str, str]]:
    """Title, phrase and style of each note."""
    opened = [command_id[:ID_DIGITS] for command_id in status.open_incidents]
    of: dict[str, tuple[Sequence[str], str]] = {
        "incident open": (opened, "bold red"),
        "stopped segment": (status.stopped_segments, "bold red"),
        "served after the stop": (_served_after(status), ""),
        "ramp": ([status.ramp] if status.ramp else [], ""),
        "decided by people": (status.people, ""),
        "overdue": (status.overdue, "bold red"),
        "owed by people": ([owed for owed in status.due if owed not in status.overdue], ""),
        "not enforced yet": (status.not_enforced or (), ""),
        "spec cannot be read": ([status.spec_fault] if status.spec_fault else [], "yellow"),
    }
    for title, (phrases, style) in of.items():
        for phrase in phrases:
            yield title, phrase, style


def _served_after(status: ExperimentStatus) -> list[str]:
    if status.in_flight is None or status.after_stop is None:
        return ["not counted yet"] if status.lifecycle in ("paused", "stopped", "rolled_back") else []
    harmed = status.harm_to_last_s
    took = [] if harmed is None else [f"{harmed:.1f} s from the first harmful trace to the last exposure"]
    return ["; ".join([f"{count(status.in_flight)} in flight, {count(status.after_stop)} begun after it", *took])]


def watch_table(frames: Sequence[Frame], at: datetime) -> Table | Text:
    """at: when it was read."""
    if not frames:
        return text(NONE_REGISTERED)
    table = _table(
        f"read at {utc(at)}",
        "experiment",
        "state",
        "exposure",
        "traces by arm",
        "guardrails: verdict, estimate (limits), margin",
        "last command",
    )
    for frame in frames:
        table.add_row(
            text(frame.experiment),
            _state(frame),
            text(share(frame.exposure)),
            _arms(frame),
            _guardrails(frame.guardrails),
            _last(frame.last_command),
        )
    return table


def _state(frame: Frame) -> Text:
    state = text(frame.lifecycle, LIFECYCLE_STYLE.get(frame.lifecycle, ""))
    stopped = f"\nstopped: {printable(listed(frame.stopped_segments))}" if frame.stopped_segments else ""
    advice = f"\nrecommended: {WORDS.get(frame.recommended.word)}" if frame.recommended else ""
    changed = "".join(f"\n{printable(phrase)}" for phrase in frame.amended)
    return Text.assemble(state, f"\nrun {frame.run}, epoch {frame.epoch}{stopped}{advice}{changed}")


def _arms(frame: Frame) -> Text:
    counted = [f"{arm.variant}: {count(arm.n)}" for arm in frame.arms]
    return lines([*(counted or [NO_DATA]), f"measured {utc(frame.measured_at)}"])


def _guardrails(results: Sequence[GuardrailResult] | None) -> Text:
    if results is None:
        return text("unknown: this version cannot read the spec", "yellow")
    if not results:
        return text("none declared")
    return Text("\n").join(_guardrail(result) for result in results)


def _guardrail(result: GuardrailResult) -> Text:
    verdict = text(result.verdict, VERDICT_STYLE.get(result.verdict, ""))
    estimate = NO_DATA if result.estimate is None else effect_text(result.estimate, result)
    numbers = f": {estimate} ({interval_text(result)}), {margin_text(result)}"
    return Text.assemble(text(metric_text(result)), " ", verdict, text(numbers))


def _last(command: LastCommand | None) -> Text:
    if command is None:
        return text("none")
    waiting = [f"waiting for {name}" for name in command.waiting_for]
    applied = [f"applied by {name}" for name in command.applied_by]
    return lines([command.action, utc(command.decided_at), *applied, *waiting])


def explanation_text(told: Explanation, database: str) -> Group:
    shown = [text(headline(told), "bold")]
    for section in sections(told, database):
        shown.append(text(section.title, "bold underline"))
        shown += [Text("  " + _indented(line)) for line in section.lines]
    return Group(*shown)


def _indented(line: str) -> str:
    """The line made printable, its indentation kept."""
    body = line.lstrip(" ")
    return " " * (len(line) - len(body)) + printable(body)

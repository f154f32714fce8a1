"""What the demo found, as data and as a table that a person enjoys reading."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(slots=True)
class Story:
    """One experiment of the demo; None is "did not happen".

    seconds_harm_to_command  from handing the first harmful trace to the SDK to the signed command in a reader's hands
    seconds_command_to_flag  from there to the controller's "applied"
    """

    experiment: str
    story: str
    harm: str
    lifecycle: str
    action: str | None = None
    reason: str | None = None
    first_harm_at: str | None = None
    command_at: str | None = None
    seconds_harm_to_command: float | None = None
    seconds_command_to_flag: float | None = None
    in_flight_at_stop: int | None = None
    exposures_after_stop: int | None = None
    journal_entries: int = 0
    replay_identical: bool = False


@dataclass(slots=True)
class Report:
    """The demo's result; the top-level seconds are those of the headline experiment."""

    traffic: str
    traces_sent: int = 0
    traces_stored: int = 0
    traces_dropped: int = 0
    dead_lettered: int = 0
    malformed_sent: int = 0
    experiments: list[Story] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    first_harm_at: str | None = None
    command_at: str | None = None
    seconds_harm_to_command: float | None = None
    seconds_command_to_flag: float | None = None
    exposures_after_stop: int | None = None
    journal_entries: int = 0
    replay_identical: bool = False
    traces_per_second: float = 0.0
    seconds_to_ready: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


def timestamp(at_s: float) -> str:
    """Seconds since 1970 as RFC 3339, UTC, with milliseconds."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show(report: Report, console: Console) -> None:
    """Prints the report."""
    console.print()
    console.print(_stories(report))
    for story in report.experiments:
        if story.reason:
            console.print(f"[bold]{story.experiment}[/bold]: {story.reason}", highlight=False)
    console.print()
    console.print(_figures(report))


def _stories(report: Report) -> Table:
    table = Table(title="What happened", title_justify="left")
    for name in (
        "experiment",
        "what the traffic did",
        "what stoploss did",
        "harm → command",
        "command → flag",
        "after stop",
    ):
        table.add_column(name, overflow="fold")
    for story in report.experiments:
        table.add_row(
            story.experiment,
            story.story,
            f"{story.action or 'nothing'} ({story.lifecycle})",
            _seconds(story.seconds_harm_to_command),
            _seconds(story.seconds_command_to_flag),
            "" if story.exposures_after_stop is None else f"{story.exposures_after_stop} requests",
        )
    return table


def _figures(report: Report) -> Table:
    table = Table(show_header=False, box=None)
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_row(f"{report.traces_sent:,}", f"traces sent, {report.traces_per_second:,.0f} a second: {report.traffic}")
    table.add_row(f"{report.traces_stored:,}", "of them stored in ClickHouse")
    table.add_row(
        f"{report.dead_lettered:,}",
        f"records in the dead letters ({report.malformed_sent} were sent malformed on purpose)",
    )
    table.add_row(f"{len(report.alerts):,}", f"alerts reached on-call: {', '.join(report.alerts) or 'none'}")
    table.add_row(f"{report.journal_entries:,}", "journal entries, chained by hash")
    table.add_row(
        "yes" if report.replay_identical else "NO", "a replay of the ledger reproduces the journal, byte for byte"
    )
    return table


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1_000:,.0f} ms" if value < 1 else f"{value:,.1f} s"

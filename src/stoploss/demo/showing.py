"""The demo's result as tables that a person enjoys reading, at 80 columns and at 120."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stoploss.demo.report import Report, Story

INDENT = (0, 0, 0, 2)


def show(report: Report, console: Console) -> None:
    for part in _parts(report):
        console.print(part)


def _parts(report: Report) -> Iterator[RenderableType]:
    yield Text()
    yield Text("What happened", style="bold")
    yield _table(report)
    for story in report.experiments:
        yield from _told(story)
    yield Text()
    yield Text("What was counted", style="bold")
    yield _figures(report)


def _table(report: Report) -> Table:
    """Short cells only: sentences stand below."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("experiment")
    table.add_column("stoploss did")
    table.add_column("harm → command", justify="right")
    table.add_column("→ flag", justify="right")
    table.add_column("after stop", justify="right")
    for story in report.experiments:
        table.add_row(
            Text(story.experiment, style="bold"),
            _answer(story),
            _seconds(story.seconds_harm_to_command),
            _seconds(story.seconds_command_to_flag),
            "" if story.exposures_after_stop is None else f"{story.exposures_after_stop:,} requests",
        )
    return table


def _answer(story: Story) -> Text:
    if story.action is None:
        return Text(f"nothing, {story.lifecycle}", style="green")
    return Text(story.action, style="bold red")


def _told(story: Story) -> Iterator[RenderableType]:
    """What was done to the experiment and what stoploss said of it, in full."""
    yield Text.assemble((story.experiment, "bold"), f": {story.story}")
    if story.reason:
        yield Padding(Text(story.reason), INDENT, expand=False)
    for notice in story.notices:
        yield Padding(Text(f"on-call was told, and the variant left in traffic: {notice}"), INDENT, expand=False)
    if story.exposures_after_stop is not None:
        served = f"{story.in_flight_at_stop:,} of its requests were in flight at the stop"
        yield Padding(
            Text(f"{served}, {story.exposures_after_stop:,} began after it", style="dim"), INDENT, expand=False
        )


def _figures(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column()
    alerts = f"alerts reached on-call: {', '.join(report.alerts) or 'none'}"
    sent = f"traces sent, {report.traces_per_second:,.0f} a second: {report.traffic}"
    dropped = f" ({report.traces_dropped:,} were lost on the way to Kafka)" if report.traces_dropped else ""
    malformed = f"dead letters; {report.malformed_sent} records were sent malformed on purpose"
    table.add_row(f"{report.traces_sent:,}", sent)
    table.add_row(f"{report.traces_stored:,}", f"of them stored in ClickHouse{dropped}")
    table.add_row(f"{report.dead_lettered:,}", malformed)
    table.add_row(f"{len(report.alerts):,}", alerts)
    table.add_row(f"{report.journal_entries:,}", "journal entries, chained by hash")
    table.add_row(_identical(report), "a replay of the ledger reproduces the journal, byte for byte")
    return table


def _identical(report: Report) -> Text:
    return Text("yes", style="green") if report.replay_identical else Text("NO", style="bold red")


def _seconds(value: float | None) -> str:
    """
    >>> _seconds(0.6517), _seconds(12.3033), _seconds(None)
    ('652 ms', '12.3 s', '')
    """
    if value is None:
        return ""
    return f"{value * 1_000:,.0f} ms" if value < 1 else f"{value:,.1f} s"

"""What became of it: counted in ClickHouse, read from the journal, and proved by a replay."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from stoploss import __version__, journal
from stoploss.cli import replaying
from stoploss.commands import AckStatus, Action
from stoploss.demo.cast import CAST, HEADLINE, Part
from stoploss.demo.narrator import because, is_notice
from stoploss.demo.observers import SeenCommand, Watch
from stoploss.demo.report import Report, Story, timestamp
from stoploss.demo.services import Sent
from stoploss.embedded.jars import pinned_jars
from stoploss.journal import ExposuresCounted, Finding, JournalEntry
from stoploss.settings import Settings
from stoploss.store import queries
from stoploss.store.client import connect
from streams.reading import whole
from streams.registry_view import RegistryView

OF_THE_HEADLINE = (
    "first_harm_at",
    "command_at",
    "seconds_harm_to_command",
    "seconds_command_to_flag",
    "exposures_after_stop",
)
LIBRARIES = ("faust-streaming", "confluent-kafka", "aiokafka", "river", "numpy", "polars", "chdb")


def find(report: Report, settings: Settings, sent: Sent, watch: Watch, view: RegistryView) -> None:
    """Fills the report in."""
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    entries = list(_journal(settings))
    report.traces_sent, report.traces_dropped = sent.traces, sent.dropped
    report.traces_per_second = round(sent.traces / sent.seconds, 1)
    report.traces_stored = queries.trace_count(client)
    report.dead_lettered = sum(row.records for row in queries.dead_letters(client))
    report.journal_entries = len(entries)
    report.commands = [_row(command) for command in watch.commands]
    report.experiments = [_story(part, settings, sent, watch, view, entries) for part in CAST]
    report.replay_identical = all(story.replay_identical for story in report.experiments)
    report.versions = versions(str(client.server_version))
    headline = next(story for story in report.experiments if story.experiment == HEADLINE.experiment.name)
    for name in OF_THE_HEADLINE:
        setattr(report, name, getattr(headline, name))


def _journal(settings: Settings) -> Iterator[JournalEntry]:
    for message in whole(settings.need_kafka(), settings.topics("journal")):
        yield journal.decode(message.value())


def _row(seen: SeenCommand) -> dict[str, object]:
    row = {name: value for name, value in asdict(seen.command).items() if name not in ("evidence", "stopped_segments")}
    return {**row, "action": str(seen.command.action), "seen_at": timestamp(seen.seen_at_s)}


def _story(
    part: Part, settings: Settings, sent: Sent, watch: Watch, view: RegistryView, entries: list[JournalEntry]
) -> Story:
    name = part.experiment.name
    entry = view.get(name)
    mine = [e for e in entries if e.experiment == name]
    harm_s = sent.first_harm_s.get(name)
    story = Story(name, part.story, part.harm, entry.lifecycle if entry else "unknown", journal_entries=len(mine))
    story.replay_identical = replaying.comparison(settings, name, "clickhouse").identical
    found = (e.conclusion for e in mine if isinstance(e.conclusion, Finding))
    story.notices = [finding.sentence for finding in found if is_notice(finding)]
    story.first_harm_at = timestamp(harm_s) if harm_s else None
    if (answer := answer_to(name, watch.commands)) is not None:
        _answered(story, answer, harm_s, watch)
        _count(story, answer, mine)
    return story


def answer_to(experiment: str, commands: Sequence[SeenCommand]) -> SeenCommand | None:
    """The first command that lowered exposure."""
    mine = (seen for seen in commands if seen.command.experiment == experiment)
    return next((seen for seen in mine if seen.command.action != Action.SET_EXPOSURE), None)


def _answered(story: Story, answer: SeenCommand, harm_s: float | None, watch: Watch) -> None:
    command = answer.command
    story.action, story.reason = str(command.action), because(command)
    story.command_at = timestamp(answer.seen_at_s)
    if harm_s is not None:
        story.seconds_harm_to_command = round(answer.seen_at_s - harm_s, 4)
    mine = (seen.ack for seen in watch.acks if seen.ack.command_id == command.command_id)
    applied = next((ack for ack in mine if ack.status == AckStatus.APPLIED), None)
    if applied is not None:
        story.seconds_command_to_flag = round(applied.at / 1e6 - answer.written_at_s, 4)


def _count(story: Story, answer: SeenCommand, entries: list[JournalEntry]) -> None:
    """Where the journal counts none at all, none came: it counts as soon as there is one."""
    story.in_flight_at_stop = story.exposures_after_stop = 0
    for entry in entries:
        counted = entry.conclusion
        if isinstance(counted, ExposuresCounted) and counted.command_id == answer.command.command_id:
            story.in_flight_at_stop, story.exposures_after_stop = counted.in_flight, counted.after_stop


def versions(clickhouse: str) -> dict[str, str]:
    kafka = next(jar.version for jar in pinned_jars() if jar.group == "org.apache.kafka")
    return {
        "stoploss": __version__,
        "python": platform.python_version(),
        "clickhouse": clickhouse,
        "kafka": kafka,
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }

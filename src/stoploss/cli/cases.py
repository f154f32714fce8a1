"""cases: harm as evaluation cases in a format of those who evaluate offline, promoted, declined, and their results."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client

from stoploss.cases.formats import exported
from stoploss.cases.model import Cases, cases_of
from stoploss.cases.results import Results, read_results
from stoploss.cases.standing import Offline, offline
from stoploss.cli import addresses
from stoploss.cli.incident import harm_of, spec_at
from stoploss.cli.knowledge import answers
from stoploss.cli.output import console, print_json, write_file
from stoploss.cli.progress import working
from stoploss.cli.recording import put_on_record
from stoploss.errors import ConfigurationError
from stoploss.followup import MOST_CASES, CasesDeclined, CasesPromoted, Format, OfflineResults
from stoploss.incidents.facts import on_record
from stoploss.incidents.subject import answered_harm, find, lowered, subject_of
from stoploss.review.cells import cells_of
from stoploss.review.errors import UnknownExperiment
from stoploss.review.words import count
from stoploss.settings import Settings
from stoploss.store import queries
from stoploss.store.client import connect
from stoploss.store.rows import TimelineEntry

MOST_COMMANDS = 16
"""Commands of an experiment whose harm is looked for, the last ones."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was asked for: an experiment and the commands of it that answered harm."""

    experiment: str
    commands: tuple[str, ...]
    timeline: Sequence[TimelineEntry]


def cases(settings: Settings, what: str, form: Format, output: Path | None, as_json: bool) -> None:
    """Writes the cases to stdout or a file; what was skipped is told on stderr, or all of it as JSON."""
    with working("making cases"), closing(_client(settings)) as client:
        found = _cases(client, _chosen(client, what))
    if as_json:
        print_json(found)
        return
    text = exported(found.cases, form)
    if output is None:
        console().file.write(text)
    else:
        write_file(output, text)
        print(f"{count(len(found.cases))} cases in {output}", file=sys.stderr)
    _tell_skipped(found)


def _tell_skipped(found: Cases) -> None:
    if not found.cases:
        print("no case: nothing of the evidence can be one", file=sys.stderr)
    for skipped in found.skipped:
        rows = f"{count(skipped.rows)} rows skipped" if skipped.rows else "skipped"
        print(f"{rows}: {skipped.why}", file=sys.stderr)


def promote(settings: Settings, what: str, evaluation_set: str, version: str) -> None:
    """Puts on record that the cases belong to this version of that evaluation set."""
    with working("making cases"), closing(_client(settings)) as client:
        chosen = _chosen(client, what)
        found = _cases(client, chosen)
    _tell_skipped(found)
    if not found.cases:
        raise ConfigurationError(f"nothing of {what} can be promoted; decline it with --decline WHY")
    ids = tuple(case.case_id for case in found.cases)[:MOST_CASES]
    commands = tuple(dict.fromkeys(link.command_id for case in found.cases for link in case.links))
    said = CasesPromoted(command_ids=commands, evaluation_set=evaluation_set, version=version, cases=ids)
    sentence = f"{count(len(ids))} cases promoted to {evaluation_set} {version}"
    _record(settings, chosen.experiment, said, sentence)


def decline(settings: Settings, what: str, why: str) -> None:
    """Puts on record that nobody makes cases of it."""
    with closing(_client(settings)) as client:
        chosen = _chosen(client, what)
    said = CasesDeclined(command_ids=chosen.commands, why=why)
    _record(settings, chosen.experiment, said, f"no cases of {_commands(chosen)}: {why}")


def take_results(
    settings: Settings, what: str, file: Path, form: Format, evaluation_set: str, version: str, subject: str | None
) -> None:
    """Puts an offline result on record, for the cases that were promoted to this version of that set."""
    data = _content(file)
    results = read_results(data, form, str(file))
    with closing(_client(settings)) as client:
        chosen = _chosen(client, what)
        standing = offline(on_record(client, chosen.experiment), chosen.commands)
    ours = _promoted_ids(standing, evaluation_set, version, chosen.experiment)
    passed = tuple(case for case in results.passed if case in ours)
    failed = tuple(case for case in results.failed if case in ours)
    if not passed and not failed:
        raise ConfigurationError(
            f"{file} decides none of the {len(ours)} cases of {chosen.experiment!r} in {evaluation_set} {version}"
        )
    _tell_unused(results, passed, failed, ours)
    said = OfflineResults(
        evaluation_set=evaluation_set,
        version=version,
        subject=_subject(subject or results.subject, file),
        read_as=form,
        sha256=hashlib.sha256(data).hexdigest(),
        passed=passed,
        failed=failed,
    )
    sentence = f"{said.subject} passed {len(passed)} and failed {len(failed)} cases of {evaluation_set} {version}"
    _record(settings, chosen.experiment, said, sentence)


def undecided(experiment: str) -> tuple[str, ...] | None:
    """Commands of the experiment whose harm nobody has promoted or declined; None: no store answers."""
    settings = addresses.resolved()
    if not settings.clickhouse_url or not answers(settings.clickhouse_url):
        return None
    with closing(_client(settings)) as client:
        harm = answered_harm(queries.timeline(client, experiment))
        return offline(on_record(client, experiment), harm).undecided


def tell_undecided(command_ids: Sequence[str]) -> None:
    for command_id in command_ids:
        way = f"`stoploss cases {command_id[:12]} --promote --set SET --version VERSION`, or --decline WHY"
        print(f"nobody has decided whether its harm becomes regression cases: {way}")


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error


def _subject(named: str | None, file: Path) -> str:
    if not named:
        raise ConfigurationError(f"{file} does not say what was evaluated; say it with --subject NAME")
    return named


def _promoted_ids(standing: Offline, evaluation_set: str, version: str, experiment: str) -> set[str]:
    known = {(found.evaluation_set, found.version): set(found.cases) for found in standing.promoted}
    if (evaluation_set, version) not in known:
        named = ", ".join(f"{name} {number}" for name, number in known) or "none"
        raise ConfigurationError(
            f"no case of {experiment!r} was promoted to {evaluation_set} {version}; promoted to: {named}"
        )
    return known[evaluation_set, version]


def _tell_unused(results: Results, passed: Sequence[str], failed: Sequence[str], ours: set[str]) -> None:
    strangers = len(results.passed) + len(results.failed) - len(passed) - len(failed)
    untold = len(ours) - len(passed) - len(failed)
    notes = [(strangers, "cases of others passed over"), (untold, "promoted cases without a result")]
    for number, what in (*notes, (results.undecided, "results that decide nothing")):
        if number:
            print(f"{count(number)} {what}", file=sys.stderr)


def _record(
    settings: Settings, experiment: str, said: CasesPromoted | CasesDeclined | OfflineResults, text: str
) -> None:
    addresses.require_listener(settings.need_kafka())
    with working("waiting for the judge"):
        put_on_record(settings, experiment, said, text)
    print(f"{experiment}: on record: {text}")


# ---- from ClickHouse -------------------------------------------------------------------------------


def _client(settings: Settings) -> Client:
    return connect(settings.need_clickhouse(), database=settings.clickhouse_database, why="stoploss cases")


def _chosen(client: Client, what: str) -> Chosen:
    """An experiment with all its commands that lowered something, or one command; raises UnknownExperiment."""
    known = [found.experiment for found in queries.status(client)]
    if what in known:
        timeline = queries.timeline(client, what)
        rehearsed = {held.command.command_id for held in queries.commands(client, what) if held.command.dry_run}
        commands = tuple(lowered(timeline, rehearsed)[-MOST_COMMANDS:])
        if not commands:
            raise ConfigurationError(f"no command of {what!r} has lowered exposure: there is no harm to make cases of")
        return Chosen(what, commands, timeline)
    if not _looks_like_a_command(what):
        raise UnknownExperiment(what, known)
    issued = find(client, what)
    return Chosen(issued.experiment, (issued.command_id,), queries.timeline(client, issued.experiment))


def _looks_like_a_command(what: str) -> bool:
    return len(what) >= 8 and set(what) <= set("0123456789abcdef")


def _cases(client: Client, chosen: Chosen) -> Cases:
    harms, withheld, unseen = [], set[str](), queries.hidden_cells(client, chosen.experiment)
    for command_id in chosen.commands:
        about = subject_of(chosen.experiment, command_id, chosen.timeline)
        spec = spec_at(client, about)[1]
        cells = cells_of(spec.spec.privacy.minimum_cell, unseen)
        withheld |= {entry.entry_id for entry in about.causes if cells.hides(entry)}
        harms.append((chosen.experiment, command_id, harm_of(client, about, spec)))
    return cases_of(harms, withheld)


def _commands(chosen: Chosen) -> str:
    return ", ".join(command_id[:12] for command_id in chosen.commands)

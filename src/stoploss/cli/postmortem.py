"""postmortem: an incident from its first harm to its last remedy; what people add is put on record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from clickhouse_connect.driver.client import Client

from stoploss.cli import addresses
from stoploss.cli.incident import spec_at
from stoploss.cli.output import console, json_text, show, write_file
from stoploss.cli.progress import working
from stoploss.cli.recording import put_on_record
from stoploss.errors import ConfigurationError, InvalidExperiment
from stoploss.experiment import Experiment
from stoploss.followup import FactorNoted, IncidentClosed, IncidentOpened, OfIncident, RemedyAgreed, RemedyDone
from stoploss.incidents.facts import on_record
from stoploss.incidents.markdown import markdown
from stoploss.incidents.postmortem import PostMortem, Rows
from stoploss.incidents.postmortem import postmortem as written
from stoploss.incidents.subject import Subject, find, subject
from stoploss.settings import Settings
from stoploss.store import queries
from stoploss.store.client import connect

SHORT = 12


@dataclass(frozen=True, slots=True)
class Addition:
    """What a person adds; every field None: nothing, the document is wanted.

    remedy, what, owner, due  belong together, and remedy with how where it is done
    """

    summary: str | None = None
    factor: str | None = None
    remedy: str | None = None
    what: str | None = None
    owner: str | None = None
    due: date | None = None
    done: str | None = None
    how: str | None = None
    conclusion: str | None = None

    def said(self, command_id: str) -> Iterator[tuple[OfIncident, str]]:
        """Each fact with its sentence, in the order in which they make sense; raises ConfigurationError."""
        short = command_id[:SHORT]
        if self.summary is not None:
            opened = IncidentOpened(command_id=command_id, summary=self.summary)
            yield opened, f"incident of command {short} opened: {self.summary}"
        if self.factor is not None:
            noted = FactorNoted(command_id=command_id, text=self.factor)
            yield noted, f"contributing factor of command {short}: {self.factor}"
        if self.remedy is not None:
            yield self._agreed(command_id), f"remedy {self.remedy} of command {short}: {self.what}"
        if self.done is not None:
            how = _needed(self.how, "--done ID needs --how TEXT: what was done")
            yield RemedyDone(command_id=command_id, remedy=self.done, how=how), f"remedy {self.done} done: {how}"
        if self.conclusion is not None:
            closed = IncidentClosed(command_id=command_id, conclusion=self.conclusion)
            yield closed, f"incident of command {short} closed: {self.conclusion}"

    def _agreed(self, command_id: str) -> RemedyAgreed:
        way_out = "--remedy ID needs --what TEXT, --owner NAME and --due DATE"
        what, owner = _needed(self.what, way_out), _needed(self.owner, way_out)
        if self.due is None:
            raise ConfigurationError(way_out)
        return RemedyAgreed(command_id=command_id, remedy=self.remedy or "", what=what, owner=owner, due=self.due)


def _needed(text: str | None, way_out: str) -> str:
    if not text:
        raise ConfigurationError(way_out)
    return text


def add(settings: Settings, what: str, addition: Addition) -> bool:
    """Puts on record what was given; False where nothing was. Raises UnknownCommand, RequestRefused."""
    if addition == Addition():
        return False
    with _store(settings) as client:
        found = find(client, what)
    told = list(addition.said(found.command_id))
    if not told:
        raise ConfigurationError("--what, --owner and --due belong to --remedy ID, --how to --done ID")
    addresses.require_listener(settings.need_kafka())
    for said, sentence in told:
        with working("waiting for the judge"):
            put_on_record(settings, found.experiment, said, sentence)
        print(f"{found.experiment}: on record: {sentence}")
    return True


def postmortem(settings: Settings, what: str, output: Path | None, as_json: bool) -> None:
    """The document as Markdown, or as JSON, on stdout or in a file. Raises UnknownCommand."""
    with working("writing the post-mortem"), _store(settings) as client:
        found = read_postmortem(client, subject(client, what))
    text = f"{json_text(found)}\n" if as_json else markdown(found)
    if output is None:
        console().file.write(text)
        return
    write_file(output, text)
    show(f"post-mortem of {found.experiment} written to {output}")


def read_postmortem(client: Client, found: Subject) -> PostMortem:
    name = found.experiment
    rows = Rows(
        timeline=queries.timeline(client, name),
        commands=queries.commands(client, name),
        exposures=queries.exposures_after_stop(client, name),
        records=on_record(client, name),
        hidden=queries.hidden_cells(client, name),
    )
    return written(found, _spec(client, found), rows, datetime.now(UTC).date())


def _spec(client: Client, found: Subject) -> Experiment | None:
    """What happened is told also where this version cannot read the spec."""
    try:
        return spec_at(client, found)[1]
    except InvalidExperiment:
        return None


def _store(settings: Settings) -> closing[Client]:
    return closing(connect(settings.need_clickhouse(), database=settings.clickhouse_database))

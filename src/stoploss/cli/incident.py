"""incident: all that a replay of one incident needs elsewhere, and what people want to see of it, in one folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client

from stoploss.archive.writing import write_pack
from stoploss.cli import archiving
from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.cli.verifying import trusted
from stoploss.errors import ConfigurationError
from stoploss.experiment import Experiment
from stoploss.incidents.evidence import harmful_rows
from stoploss.incidents.pack import Harm, files, found_places, versions
from stoploss.incidents.subject import Subject, subject
from stoploss.incidents.traces import shown
from stoploss.replay import StoredEntry
from stoploss.review.words import count
from stoploss.settings import Settings
from stoploss.spec.file import parse_experiment
from stoploss.store import queries
from stoploss.store.client import connect
from streams.partition_judge import this_version

MOST_CAUSES = 8
"""Findings of one command whose rows are looked for; a person's command may answer many."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The stored ledger behind an offset and up to another, as often iterated as wanted: a page at a time."""

    client: Client
    partition: int
    last: int
    after: int = -1

    def __iter__(self) -> Iterator[StoredEntry]:
        return archiving.ledger_until(self.client, self.partition, self.last, self.after)


def incident(settings: Settings, what: str, output: Path, keys: Sequence[Path], as_json: bool) -> None:
    """Writes the pack and says what is in it.

    Raises UnknownCommand, and ConfigurationError where it cannot be whole.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigurationError(f"{output} stands there already; name a folder that does not, or an empty one")
    public_keys = archiving.public_keys(trusted(settings, keys))
    why = f"stoploss incident {what}"
    with (
        working("packing"),
        closing(connect(settings.need_clickhouse(), database=settings.clickhouse_database, why=why)) as client,
    ):
        found = subject(client, what)
        text, spec = spec_at(client, found)
        harm = harm_of(client, found, spec)
        judged = versions(ledger_of(client, found), this_version(found.issued.ledger_partition))
        contents = archiving.contents(settings, client, found.experiment, public_keys, found.end.ledger_offset)
        beside = files(found, text, judged, harm)
        manifest = write_pack(output, contents, found.command_id, found.run, beside)
    if as_json:
        print_json(manifest.model_dump(exclude={"schemas"}))
        return
    counts = ", ".join(f"{manifest.rows(kind)} {kind}" for kind in ("ledger", "journal", "commands", "checkpoints"))
    print(f"{found.action} {found.command_id[:12]}… of {found.experiment}: {counts}, {_traces(harm)} in {output}")
    print(f"`stoploss replay {output}` judges it again, on any machine")


def _traces(harm: Harm) -> str:
    there = count(len(harm.shown) - harm.missing)
    return f"{there} masked traces" + (f" ({count(harm.missing)} not stored)" if harm.missing else "")


def ledger_of(client: Client, found: Subject) -> Ledger:
    """Up to the end of the incident."""
    return Ledger(client, found.issued.ledger_partition, found.end.ledger_offset)


def harm_of(client: Client, found: Subject, spec: Experiment) -> Harm:
    """The rows that were evidence of harm, and their traces as they are stored."""
    end = found.end.ledger_offset
    entries = Ledger(client, found.issued.ledger_partition, end, after=found.begin - 1)
    causes = found.causes[-MOST_CAUSES:]
    rows = tuple(harmful_rows(cause, spec, found.begin, entries, end) for cause in causes)
    return Harm(rows, tuple(shown(client, found_places(rows))))


def spec_at(client: Client, found: Subject) -> tuple[str, Experiment]:
    """The spec that was in force when the command was issued; raises InvalidExperiment where it cannot be read."""
    known = queries.specs(client, found.experiment)
    before = [version for version in known if version.changed_at <= found.issued.at] or known[:1]
    if not before:
        raise ConfigurationError(
            f"ClickHouse has no spec of {found.experiment!r} yet; wait until the recorder has caught up"
        )
    text = before[-1].spec
    return text, parse_experiment(text, f"the recorded spec of {found.experiment!r}")

"""archive: all that a replay and an auditor need of one experiment, from ClickHouse into one file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from clickhouse_connect.driver.client import Client

from stoploss import checkpoints, journal
from stoploss.archive.writing import Contents, write_archive
from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.cli.verifying import trusted
from stoploss.commands import Command
from stoploss.errors import ConfigurationError
from stoploss.replay import StoredEntry
from stoploss.settings import Settings
from stoploss.signing import key_id_of, load_public_key
from stoploss.store import evidence_reads, replay_reads
from stoploss.store.client import connect
from stoploss.wire import records

COMMAND = {"command": Command}


def archive(settings: Settings, experiment: str, output: Path, keys: Sequence[Path], as_json: bool) -> None:
    """Writes the archive and says what is in it; raises ConfigurationError where ClickHouse does not have all of it."""
    trusted_keys = public_keys(trusted(settings, keys))
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    with working("archiving"):
        manifest = write_archive(output, contents(settings, client, experiment, trusted_keys))
    if as_json:
        print_json(manifest.model_dump(exclude={"schemas", "incident"}))
        return
    counts = ", ".join(f"{manifest.rows(kind)} {kind}" for kind in ("ledger", "journal", "commands", "checkpoints"))
    print(
        f"{experiment}: {counts} in {output}, {output.stat().st_size / 1e6:.1f} MB; "
        f"`stoploss verify {output}` checks it anywhere"
    )


def public_keys(paths: Sequence[Path]) -> dict[str, str]:
    """PEM by key id."""
    return {key_id_of(load_public_key(path)): path.read_text() for path in paths}


def contents(
    settings: Settings, client: Client, experiment: str, keys: dict[str, str], end: int | None = None
) -> Contents:
    """The journal is read first: everything else then reaches at least as far, where the recorder has kept up.

    end  ledger offset behind which nothing is taken; None: all that is stored
    """
    entries = [record.value for record in replay_reads.read_journal(client, experiment)]
    if end is not None:
        entries = [value for value in entries if journal.decode(value).ledger_offset <= end]
    if not entries:
        raise ConfigurationError(
            f"ClickHouse has no journal of an experiment {experiment!r}; `stoploss status` lists the experiments"
        )
    last = journal.decode(entries[-1])
    commands = evidence_reads.read_commands(client, experiment)
    signatures = evidence_reads.read_checkpoints(client, experiment)
    if end is not None:
        commands = [one for one in commands if records.decode(one.value, COMMAND).decided_at <= last.at]
        signatures = [one for one in signatures if checkpoints.decode(one.value).number <= last.number]
    return Contents(
        experiment=experiment,
        ledger_partition=last.ledger_partition,
        control_topic=settings.topics("control"),
        public_keys=keys,
        ledger=ledger_until(client, last.ledger_partition, last.ledger_offset),
        journal=entries,
        commands=commands,
        checkpoints=signatures,
    )


def ledger_until(client: Client, partition: int, last: int, after: int = -1) -> Iterator[StoredEntry]:
    """Up to the entry that led to the last conclusion; raises ConfigurationError where that is not stored yet."""
    offset = after
    for record in replay_reads.read_ledger(client, partition, after=after):
        if record.offset > last:
            break
        offset = record.offset
        yield StoredEntry(partition, record.offset, record.at_micros, record.value)
    if offset != last:
        raise ConfigurationError(
            f"the journal rests on the ledger up to offset {last} of partition {partition}, ClickHouse has it up to "
            f"{offset}; wait until the recorder has caught up"
        )

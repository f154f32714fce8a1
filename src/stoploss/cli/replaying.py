"""replay: the ledger from Kafka or ClickHouse, judged again, held against the stored journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from stoploss import journal
from stoploss.cli import addresses
from stoploss.errors import ConfigurationError
from stoploss.registry import RegistryEntry
from stoploss.replay import Comparison, StoredEntry, compare
from stoploss.replay import replay as replay_ledger
from stoploss.settings import Settings
from stoploss.store import replay_reads
from stoploss.store.client import connect
from streams.reading import whole
from streams.registry_view import RegistryView


def replay(settings: Settings, experiment: str, source: str, as_json: bool) -> bool:
    """Prints how the replay compares; True where it is identical."""
    found = comparison(settings, experiment, source)
    if as_json:
        print(json.dumps({**asdict(found), "identical": found.identical}, indent=2))
    elif found.identical:
        print(f"{experiment}: {found.replayed} journal entries replayed from {source}, identical byte for byte")
    else:
        print(f"{experiment}: entry {found.first_difference} of the journal differs")
        print(f"  stored:   {found.expected}")
        print(f"  replayed: {found.found}")
        print("  judge it with the version that wrote it: `stoploss explain` names it")
    return found.identical


def comparison(settings: Settings, experiment: str, source: str) -> Comparison:
    addresses.require_listener(settings.need_kafka())
    entry = _registered(settings, experiment)
    entries, stored = SOURCES[source](settings, entry)
    if not stored:
        raise ConfigurationError(f"no journal entry of {experiment!r} stands in {source}; is the recorder running?")
    replayed = replay_ledger(entries, entry.partition, settings.topics("control"))
    return compare(experiment, stored, replayed.get(experiment, []))


def _registered(settings: Settings, experiment: str) -> RegistryEntry:
    view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
    entry, known = view.get(experiment), sorted(e.experiment for e in view.entries())
    view.stop()
    if entry is None:
        raise ConfigurationError(
            f"experiment {experiment!r} is not registered; registered: {', '.join(known) or 'none'}"
        )
    return entry


def _from_kafka(settings: Settings, entry: RegistryEntry) -> tuple[Iterator[StoredEntry], list[bytes]]:
    """The journal is read first: the ledger then reaches at least as far."""
    bootstrap = settings.need_kafka()
    stored = [
        message.value() or b""
        for message in whole(bootstrap, settings.topics("journal"), entry.partition)
        if message.key() == entry.experiment.encode()
    ]
    last = journal.decode(stored[-1]).ledger_offset if stored else -1
    return _until(_kafka_entries(settings, entry.partition), last), stored


def _kafka_entries(settings: Settings, partition: int) -> Iterator[StoredEntry]:
    for message in whole(settings.need_kafka(), settings.topics("ledger"), partition):
        _, at_ms = message.timestamp()
        yield StoredEntry(partition, message.offset() or 0, at_ms * 1_000, message.value() or b"")


def _from_clickhouse(settings: Settings, entry: RegistryEntry) -> tuple[Iterator[StoredEntry], list[bytes]]:
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    stored = [record.value for record in replay_reads.read_journal(client, entry.experiment)]
    last = journal.decode(stored[-1]).ledger_offset if stored else -1
    entries = (
        StoredEntry(entry.partition, record.offset, record.at_micros, record.value)
        for record in replay_reads.read_ledger(client, entry.partition)
    )
    return _until(entries, last), stored


SOURCES = {"kafka": _from_kafka, "clickhouse": _from_clickhouse}
"""Where the ledger and the journal can be read; the registry says where an experiment stands, and is in Kafka."""


def _until(entries: Iterator[StoredEntry], last: int) -> Iterator[StoredEntry]:
    """Up to the ledger entry that led to the last journal entry: what came later may not be judged yet."""
    for entry in entries:
        if entry.offset > last:
            return
        yield entry

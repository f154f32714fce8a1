"""replay: the ledger from Kafka, ClickHouse or an archive, judged again by the same rules or by others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stoploss import journal
from stoploss.archive import is_pack, read_archive
from stoploss.cli import addresses
from stoploss.cli.history import read_spec
from stoploss.cli.output import print_json, show, write_file
from stoploss.cli.progress import working
from stoploss.errors import ConfigurationError
from stoploss.ledger import JudgeVersion
from stoploss.registry import RegistryEntry
from stoploss.replay import Recorded, Reproduction, Span, StoredEntry, reproduce
from stoploss.replaying.other_rules import OtherRules, under_other_rules
from stoploss.replaying.picture import picture
from stoploss.replaying.tables import other_rules_view
from stoploss.settings import Settings
from stoploss.store import replay_reads
from stoploss.store.client import connect
from streams import shared_schemas
from streams.partition_judge import this_version
from streams.reading import whole
from streams.registry_view import RegistryView

KAFKA = "kafka"


def replay(
    settings: Settings, what: str, source: str, rules: Path | None, picture_file: Path | None, as_json: bool
) -> bool:
    """Replays by the same rules, or by those of a file; False where this version does not reproduce what it judged.

    what  name of an experiment, or the path of an archive or incident pack, which is then the source
    """
    experiment, source = _asked(what, source)
    if rules is not None:
        _by_others(settings, experiment, source, rules, picture_file, as_json)
        return True
    if picture_file is not None:
        raise ConfigurationError("--picture draws what other rules would have done; name their spec with --rules FILE")
    with working("replaying"):
        found = comparison(settings, experiment, source)
    if as_json:
        print_json(_document(found))
    else:
        for line in _lines(found, source):
            print(line)
    return found.holds


def _asked(what: str, source: str) -> tuple[str | None, str]:
    """Experiment and source; of a file or folder that is named instead, the experiment is the one it holds."""
    if source == KAFKA and is_pack(Path(what)):
        return None, str(Path(what).absolute())
    return what, source


def comparison(settings: Settings, experiment: str | None, source: str) -> Reproduction:
    """What is stored of an experiment, folded by this version and compared."""
    recorded = _recorded(settings, experiment, source)
    return reproduce(recorded, this_version(recorded.partition), settings.topics("control"))


def _by_others(
    settings: Settings, experiment: str | None, source: str, rules: Path, picture_file: Path | None, as_json: bool
) -> None:
    """Prints what the rules of another spec would have done, and draws it where asked to."""
    if picture_file is not None and picture_file.suffix.lower() != ".svg":
        raise ConfigurationError(f"{picture_file} is no .svg; the picture is an SVG, which browsers and documents show")
    text, _ = read_spec(rules)
    with working("replaying"):
        recorded = _recorded(settings, experiment, source)
        running, topic = this_version(recorded.partition), settings.topics("control")
        reproduced, found = under_other_rules(recorded, text, str(rules), running, topic)
    if picture_file is not None:
        write_file(picture_file, picture(found, rules.name))
    if as_json:
        print_json({"reproduction": _document(reproduced), "other_rules": _other_document(found)})
        return
    show(other_rules_view(found, rules.name))
    if not reproduced.identical:
        print("the record itself is not reproduced: both columns are what this version makes of it")
        for line in _lines(reproduced, source):
            print(line)


# ---- what is printed -------------------------------------------------------------------------------


def _lines(found: Reproduction, source: str) -> Iterator[str]:
    """One sentence where one version judged it and all is well; else what became of each span."""
    running = this_version(0)
    if found.identical:
        yield f"{found.experiment}: {found.replayed} journal entries replayed from {source}, identical byte for byte"
        if len(found.spans) == 1 and found.spans[0].mine:
            return
    first = next((span.difference for span in found.spans if span.difference), None)
    if first is not None:
        yield f"{found.experiment}: entry {first.number} of the journal differs"
    for span in found.spans:
        yield f"  {span_sentence(span, running)}"
        if span.difference is not None:
            yield f"  stored:   {span.difference.expected}"
            yield f"  replayed: {span.difference.found}"
    if not found.holds:
        yield "  this version does not reproduce what it judged itself: do not trust it before you know why"


def span_sentence(span: Span, running: JudgeVersion) -> str:
    """Who judged a span, and whether this version comes to the same."""
    who = version_text(span.version, running)
    where = f"from ledger offset {span.first_offset}, {span.entries} journal entries, judged by {who}"
    if span.difference is None:
        return f"{where}: reproduced"
    if span.outcome == "undecided":
        return f"{where}: cannot be told from entry {span.difference.number} on, since a span before it differs"
    return f"{where}: differs at entry {span.difference.number}"


def version_text(version: JudgeVersion | None, running: JudgeVersion) -> str:
    """A version by what sets it apart from the one that replays."""
    if version is None:
        return "a version that did not say its name"
    if version.text == running.text:
        return f"this version, {version.stoploss}"
    mine = {running.stoploss, *_parts(running)}
    other = [part for part in _parts(version) if part not in mine]
    return f"{version.stoploss} with {', '.join(other)}" if other else version.stoploss


def _parts(version: JudgeVersion) -> list[str]:
    libraries = {"numpy": version.numpy, "river": version.river, "tzdata": version.tzdata}
    return [*(f"{name} {number}" for name, number in libraries.items()), *version.rules.split()]


def _document(found: Reproduction) -> dict[str, object]:
    return {
        "experiment": found.experiment,
        "stored": found.stored,
        "replayed": found.replayed,
        "identical": found.identical,
        "holds": found.holds,
        "spans": found.spans,
    }


def _other_document(found: OtherRules) -> dict[str, object]:
    sums = [(run.exposures_saved, run.exposures_added, len(run.new_stops)) for run in found.runs]
    saved, added, new_stops = (sum(column) for column in zip(*sums, strict=True)) if sums else (0, 0, 0)
    return {"exposures_saved": saved, "exposures_added": added, "new_stops": new_stops, "compared": found}


# ---- where it is read ------------------------------------------------------------------------------


def _recorded(settings: Settings, experiment: str | None, source: str) -> Recorded:
    """Raises ConfigurationError where the source is none, or has nothing of the experiment.

    experiment  None: the one that the archive or pack holds
    """
    if experiment is not None and source == KAFKA:
        found = _from_kafka(settings, experiment)
    elif experiment is not None and source == "clickhouse":
        found = _from_clickhouse(settings, experiment)
    else:
        found = _from_archive(Path(source), experiment)
    if not found.journal:
        raise ConfigurationError(
            f"no journal entry of {found.experiment!r} stands in {source}; is the recorder running?"
        )
    return found


def _registered(settings: Settings, experiment: str) -> RegistryEntry:
    view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
    entry, known = view.get(experiment), sorted(e.experiment for e in view.entries())
    view.stop()
    if entry is None:
        raise ConfigurationError(
            f"experiment {experiment!r} is not registered; registered: {', '.join(known) or 'none'}"
        )
    return entry


def _from_kafka(settings: Settings, experiment: str) -> Recorded:
    """The journal is read first: the ledger then reaches at least as far."""
    bootstrap = settings.need_kafka()
    addresses.require_listener(bootstrap)
    shared_schemas.learn(settings)
    entry = _registered(settings, experiment)
    stored = [
        message.value() or b""
        for message in whole(bootstrap, settings.topics("journal"), entry.partition)
        if message.key() == experiment.encode()
    ]
    return Recorded(experiment, entry.partition, _kafka_entries(settings, entry.partition), stored, "kafka")


def _kafka_entries(settings: Settings, partition: int) -> Iterator[StoredEntry]:
    for message in whole(settings.need_kafka(), settings.topics("ledger"), partition):
        _, at_ms = message.timestamp()
        yield StoredEntry(partition, message.offset() or 0, at_ms * 1_000, message.value() or b"")


def _from_clickhouse(settings: Settings, experiment: str) -> Recorded:
    """Without Kafka: the journal says on which ledger partition it rests."""
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    stored = [record.value for record in replay_reads.read_journal(client, experiment)]
    partition = journal.decode(stored[-1]).ledger_partition if stored else 0
    entries = (
        StoredEntry(partition, record.offset, record.at_micros, record.value)
        for record in replay_reads.read_ledger(client, partition)
    )
    return Recorded(experiment, partition, entries, stored, "clickhouse")


def _from_archive(path: Path, experiment: str | None) -> Recorded:
    """Without Kafka or ClickHouse: an archive or a pack has all that a replay needs."""
    if not path.exists():
        raise ConfigurationError(f"--from {path} is neither kafka nor clickhouse, nor a file of `stoploss archive`")
    archive = read_archive(path)
    held = archive.manifest.experiment
    if experiment is not None and held != experiment:
        raise ConfigurationError(f"{path} is the archive of {held!r}, not of {experiment!r}")
    return Recorded(held, archive.manifest.ledger_partition, archive.ledger, archive.journal, path.name)

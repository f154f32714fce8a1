"""verify: a journal held against its links and its signed checkpoints, from ClickHouse or from an archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from stoploss.archive import is_pack, read_archive
from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.control.rfc3339 import rfc3339
from stoploss.errors import ConfigurationError
from stoploss.settings import Settings
from stoploss.signing import Verifier
from stoploss.store import evidence_reads, replay_reads
from stoploss.store.client import connect
from stoploss.verification import Verification
from stoploss.verification import verify as verify_journal


def verify(settings: Settings, what: str, keys: Sequence[Path], as_json: bool) -> bool:
    """Prints what was found right, or the first thing that is wrong; True where nothing is.

    what  name of an experiment, or the path of an archive or an incident pack where one stands there
    keys  public keys that are trusted; without any, the installation's own
    """
    verifier = Verifier.load(*trusted(settings, keys))
    path = Path(what)
    with working("verifying"):
        found = _of_archive(path, verifier) if is_pack(path) else _of_clickhouse(settings, what, verifier)
    if as_json:
        print_json(found)
    else:
        print("\n".join(lines(found)))
    return found.fault is None


def trusted(settings: Settings, keys: Sequence[Path]) -> Sequence[Path]:
    """The public keys that were named, or the installation's own; raises ConfigurationError where it has none here."""
    own = settings.keys / "monitor.pub"
    if not keys and not own.exists():
        raise ConfigurationError(f"no public key: give the installation's with --key FILE, for {own} does not exist")
    return keys or [own]


def _of_archive(path: Path, verifier: Verifier) -> Verification:
    archive = read_archive(path)
    return verify_journal(archive.manifest.experiment, archive.journal, archive.checkpoints, verifier)


def _of_clickhouse(settings: Settings, experiment: str, verifier: Verifier) -> Verification:
    """The journal is read first: the checkpoints then reach at least as far, where the recorder has kept up."""
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    entries = [record.value for record in replay_reads.read_journal(client, experiment)]
    if not entries:
        raise ConfigurationError(
            f"{experiment!r} is no file here, and ClickHouse has no journal of an experiment of that name; "
            "`stoploss status` lists the experiments"
        )
    return verify_journal(experiment, entries, evidence_reads.read_checkpoints(client, experiment), verifier)


def lines(found: Verification) -> Iterator[str]:
    """For people. What a journal that ends too early would look like is said, whatever was found."""
    if found.fault is not None:
        yield f"{found.experiment}: NOT VERIFIED. {found.fault}"
        yield f"  before that: {found.entries} entries, {_covered(found)}"
        return
    assert found.first_at is not None
    assert found.last_at is not None
    between = f"from {rfc3339(found.first_at)} to {rfc3339(found.last_at)}"
    yield f"{found.experiment}: {found.entries} journal entries are linked without a gap, {between}"
    yield f"  {_signed(found)}"
    yield f"  {_behind(found)}"
    yield f"  last entry {found.entries - 1}: sha256 {found.head}"


def _covered(found: Verification) -> str:
    if found.signed_through is None:
        return "none of them covered by a checkpoint"
    return f"those up to entry {found.signed_through} covered by a checkpoint"


def _signed(found: Verification) -> str:
    plural = "s" if found.checkpoints > 1 else ""
    return (
        f"{found.checkpoints} checkpoint{plural} of installation {found.installation}, signed by key "
        f"{', '.join(found.key_ids)}; the last covers entry {found.signed_through} and all before it"
    )


def _behind(found: Verification) -> str:
    if found.unsigned:
        return (
            f"NOT SIGNED YET: {found.unsigned} at the end. Had they been rewritten, or the journal been cut off behind "
            f"entry {found.signed_through}, this would not show it"
        )
    return (
        "had later entries been cut off together with their checkpoints, this would not show it: compare the last "
        "entry with what another copy, or an earlier verification, has"
    )

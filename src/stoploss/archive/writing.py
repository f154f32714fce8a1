"""Writes an archive or an incident pack: parts first, then what they are; the same evidence gives the same bytes."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from stoploss import __version__, ledger
from stoploss.archive.manifest import (
    FORMAT,
    INCIDENT_FORMAT,
    MANIFEST,
    MANIFEST_SUM,
    Kind,
    Manifest,
    OfIncident,
    Part,
    WrittenSchema,
    file_of,
    sum_line,
)
from stoploss.archive.parts import COLUMNS, Row, part_of, pieces, to_stream
from stoploss.canary import is_canary
from stoploss.checkpoints import SignedValue
from stoploss.errors import WireError
from stoploss.ledger import FACTS
from stoploss.replay import StoredEntry
from stoploss.wire import schemas
from stoploss.wire.framing import framing_of

OF_EXPERIMENTS = {name for name, fact in FACTS.items() if "experiment" in {member.name for member in fields(fact)}}
"""Facts that speak to one experiment; the others speak to all of the ledger partition."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is archived of an experiment.

    ledger       of the partition from its first entry on; what other experiments alone are told is left out
    public_keys  PEM by key id
    """

    experiment: str
    ledger_partition: int
    control_topic: str
    public_keys: Mapping[str, str]
    ledger: Iterable[StoredEntry]
    journal: Sequence[bytes]
    commands: Sequence[SignedValue]
    checkpoints: Sequence[SignedValue]


def write_archive(path: Path, contents: Contents) -> Manifest:
    """Whole or not at all. Raises OSError where the file cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.absolute().parent) as directory:
            manifest = _write_parts(Path(directory), contents)
            _write_tar(partial, manifest, Path(directory))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def write_pack(directory: Path, contents: Contents, command_id: str, run: int, files: Mapping[str, bytes]) -> Manifest:
    """A folder of the same parts, with files for people beside them; whole or not at all.

    Raises OSError where it cannot be written, or stands there already and is not empty.
    """
    stated = tuple(file_of(name, data) for name, data in files.items())
    incident = OfIncident(command_id=command_id, run=run, files=stated)
    directory.absolute().parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.absolute().parent))
    try:
        manifest = _write_parts(partial, contents, incident)
        for name, data in {**files, **_manifest_files(manifest)}.items():
            (partial / name).write_bytes(data)
        partial.chmod(0o755)  # mkdtemp's 0700 is for what must not be seen; this is to be handed on
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def is_needed(value: bytes, experiment: str) -> bool:
    """Whether a replay of the experiment needs a ledger entry: all of them, but for what only another one is told.

    Every experiment of the partition hears the canary: without it, the judge would take itself for blind.
    What cannot be read is kept: the judge passed it over, and so will a replay.
    """
    try:
        if schemas.shared(framing_of(value).mark).name not in OF_EXPERIMENTS:
            return True
        told = getattr(ledger.decode(value), "experiment", "")
    except WireError:
        return True
    return told in ("", experiment) or is_canary(told)


# ---- parts ---------------------------------------------------------------------------------------


def _rows(contents: Contents) -> Iterator[tuple[Kind, Iterable[Row]]]:
    needed = (entry for entry in contents.ledger if is_needed(entry.value, contents.experiment))
    yield "ledger", ((entry.offset, entry.at, entry.value) for entry in needed)
    yield "journal", ((value,) for value in contents.journal)
    yield "commands", ((command.value, command.signature) for command in contents.commands)
    yield "checkpoints", ((checkpoint.value, checkpoint.signature) for checkpoint in contents.checkpoints)


def _write_parts(directory: Path, contents: Contents, incident: OfIncident | None = None) -> Manifest:
    parts: list[Part] = []
    marks = Marks()
    for kind, rows in _rows(contents):
        for number, piece in enumerate(pieces(kind, rows), start=1):
            data = to_stream(kind, piece)
            parts.append(part_of(kind, number, len(piece), data))
            (directory / parts[-1].name).write_bytes(data)
            marks.see(kind, piece)
    return Manifest(
        format=FORMAT if incident is None else INCIDENT_FORMAT,
        stoploss=__version__,
        experiment=contents.experiment,
        ledger_partition=contents.ledger_partition,
        control_topic=contents.control_topic,
        public_keys=dict(contents.public_keys),
        schemas=marks.schemas(),
        parts=tuple(parts),
        incident=incident,
    )


@dataclass(slots=True)
class Marks:
    """Fingerprints of the schemas that some values are written in."""

    seen: set[bytes] = field(default_factory=set)

    def see(self, kind: Kind, rows: Iterable[Row]) -> None:
        place = list(COLUMNS[kind]).index("value")
        self.seen |= {row[place][2:10] for row in rows}

    def schemas(self) -> dict[str, WrittenSchema]:
        """Those that this version knows, by fingerprint; unreadable values have none."""
        return {
            version.fingerprint.hex(): WrittenSchema(name=version.name, version=number, avro=version.source)
            for versions in schemas.landed().values()
            for number, version in enumerate(versions, start=1)
            if version.fingerprint in self.seen
        }


# ---- the file ------------------------------------------------------------------------------------


def _write_tar(path: Path, manifest: Manifest, directory: Path) -> None:
    """The manifest comes first: `tar --to-stdout` shows it without reading the rest."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in _manifest_files(manifest).items():
            _add(tar, name, data)
        for part in manifest.parts:
            _add(tar, part.name, (directory / part.name).read_bytes())


def _manifest_files(manifest: Manifest) -> dict[str, bytes]:
    text = manifest.to_bytes()
    return {MANIFEST: text, MANIFEST_SUM: sum_line(text)}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Without time, owner or rights of this machine."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))

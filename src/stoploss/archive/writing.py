"""Writes an archive: parts first, then what they are; the same evidence gives the same bytes."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from stoploss import __version__, ledger
from stoploss.archive.manifest import MANIFEST, MANIFEST_SUM, Kind, Manifest, Part, WrittenSchema, sum_line
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


def is_needed(value: bytes, experiment: str) -> bool:
    """Whether a replay of the experiment needs a ledger entry: all of them, but for what only another one is told.

    Every experiment of the partition hears the canary: without it, the judge would take itself for blind.
    What cannot be read is kept: the judge passed it over, and so will a replay.
    """
    try:
        if schemas.by_fingerprint(framing_of(value).mark).name not in OF_EXPERIMENTS:
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


def _write_parts(directory: Path, contents: Contents) -> Manifest:
    parts: list[Part] = []
    marks = Marks()
    for kind, rows in _rows(contents):
        for number, piece in enumerate(pieces(kind, rows), start=1):
            data = to_stream(kind, piece)
            parts.append(part_of(kind, number, len(piece), data))
            (directory / parts[-1].name).write_bytes(data)
            marks.see(kind, piece)
    return Manifest(
        stoploss=__version__,
        experiment=contents.experiment,
        ledger_partition=contents.ledger_partition,
        control_topic=contents.control_topic,
        public_keys=dict(contents.public_keys),
        schemas=marks.schemas(),
        parts=tuple(parts),
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
    text = manifest.to_bytes()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, MANIFEST, text)
        _add(tar, MANIFEST_SUM, sum_line(text))
        for part in manifest.parts:
            _add(tar, part.name, (directory / part.name).read_bytes())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Without time, owner or rights of this machine."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))

"""Reads an archive or an incident pack: nothing of it is believed before its sum was found right."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stoploss.archive.manifest import (
    MANIFEST,
    MANIFEST_SUM,
    File,
    Kind,
    Manifest,
    Part,
    read_manifest,
    sum_line,
    sum_of,
)
from stoploss.archive.parts import Row, rows_of
from stoploss.checkpoints import SignedValue
from stoploss.errors import ArchiveUnreadable
from stoploss.replay import StoredEntry


@dataclass(frozen=True, slots=True)
class LedgerEntries:
    """The ledger entries that a replay of the experiment needs, in order: sized, and as often iterated as wanted.

    A part at a time is decompressed, so a ledger of months fits into memory.
    """

    partition: int
    parts: tuple[tuple[Part, bytes], ...]

    def __len__(self) -> int:
        return sum(part.rows for part, _ in self.parts)

    def __iter__(self) -> Iterator[StoredEntry]:
        for part, data in self.parts:
            for offset, at_micros, value in rows_of(part, data):
                yield StoredEntry(self.partition, offset, at_micros, value)


@dataclass(frozen=True, slots=True)
class Archive:
    """What a replay takes (`replay.Recorded`): ledger entries, and the journal as its exact bytes in order.

    files  of an incident pack, by name
    """

    manifest: Manifest
    ledger: LedgerEntries
    journal: tuple[bytes, ...]
    commands: tuple[SignedValue, ...]
    checkpoints: tuple[SignedValue, ...]
    files: Mapping[str, bytes]


def is_pack(path: Path) -> bool:
    """Whether a file stands there, or a folder that says what is in it; a name that is neither is an experiment's."""
    return path.is_file() or (path / MANIFEST).is_file()


def read_archive(path: Path) -> Archive:
    """A whole archive, or a pack where a folder stands there.

    Raises ArchiveUnreadable with the part and both sums where anything of it is not as written.
    """
    members = _files(path) if path.is_dir() else _members(path)
    manifest = _manifest(path, members)
    stated: tuple[Part | File, ...] = (*manifest.parts, *manifest.files)
    stored = {part.name: _checked(path, part, members) for part in stated}
    if unknown := sorted(members.keys() - stored.keys() - {MANIFEST, MANIFEST_SUM}):
        raise ArchiveUnreadable(f"{path}: the manifest knows nothing of {', '.join(unknown)}; it was added later")

    def rows(kind: Kind) -> Iterator[Row]:
        return (row for part in manifest.of(kind) for row in rows_of(part, stored[part.name]))

    return Archive(
        manifest,
        LedgerEntries(manifest.ledger_partition, tuple((part, stored[part.name]) for part in manifest.of("ledger"))),
        tuple(value for (value,) in rows("journal")),
        tuple(SignedValue(*row) for row in rows("commands")),
        tuple(SignedValue(*row) for row in rows("checkpoints")),
        {file.name: stored[file.name] for file in manifest.files},
    )


def _files(directory: Path) -> dict[str, bytes]:
    """Plain files of the folder by name. No link is followed, so none can lead anywhere."""
    files: dict[str, bytes] = {}
    for found in sorted(directory.iterdir()):
        if found.is_symlink() or not found.is_file():
            raise ArchiveUnreadable(f"{directory}: {found.name!r} is no plain file; a pack has nothing else")
        files[found.name] = found.read_bytes()
    return files


def _members(path: Path) -> dict[str, bytes]:
    """Plain files of the tar by name. Nothing is unpacked, so no name or link in it can lead anywhere."""
    members: dict[str, bytes] = {}
    size_bytes = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.type != tarfile.REGTYPE or member.name in members:
                    raise ArchiveUnreadable(f"{path}: {member.name!r} is no plain file, or stands there twice")
                if (left := size_bytes - member.offset_data) < member.size:
                    raise ArchiveUnreadable(
                        f"{path}: cut off in {member.name}: expected {member.size} bytes, found {left}"
                    )
                members[member.name] = _content(tar, member)
    except (tarfile.TarError, ValueError) as error:
        raise ArchiveUnreadable(f"{path} is cut off, or no archive of `stoploss archive`: {error}") from error
    return members


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _manifest(path: Path, members: dict[str, bytes]) -> Manifest:
    for name in (MANIFEST, MANIFEST_SUM):
        if name not in members:
            raise ArchiveUnreadable(f"{path}: {name} is missing; the file is cut off, or no archive of stoploss")
    expected, found = members[MANIFEST_SUM], sum_line(members[MANIFEST])
    if expected != found:
        raise ArchiveUnreadable(f"{path}: {MANIFEST} is damaged: expected {expected[:64]!r}, found {found[:64]!r}")
    return read_manifest(members[MANIFEST], path)


def _checked(path: Path, part: Part | File, members: dict[str, bytes]) -> bytes:
    data = members.get(part.name)
    if data is None:
        raise ArchiveUnreadable(
            f"{path}: part {part.name} is missing: expected {part.size_bytes} bytes with sha256 {part.sha256}"
        )
    if (found := sum_of(data)) != part.sha256:
        raise ArchiveUnreadable(
            f"{path}: part {part.name} is damaged: expected sha256 {part.sha256} ({part.size_bytes} bytes), "
            f"found {found} ({len(data)} bytes)"
        )
    return data

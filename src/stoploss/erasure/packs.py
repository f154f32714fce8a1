"""One unit's traces in an incident pack. Ledger and journal in it hold hashes alone and stay: it still replays."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from stoploss import ledger
from stoploss.archive.manifest import MANIFEST, MANIFEST_SUM, Manifest, file_of, sum_line
from stoploss.archive.reading import Archive, read_archive
from stoploss.errors import ArchiveUnreadable, WireError
from stoploss.evidence import block_columns
from stoploss.incidents.pack import EVIDENCE, README, TRACES
from stoploss.intake.hashing import hash_ids, salted
from stoploss.ledger import EvidenceBlock

Place = tuple[str, int, int]
"""Topic, partition and offset of a source record."""


@dataclass(frozen=True, slots=True)
class InPack:
    """What a pack has of a unit. An archive, which is no pack of an incident, has nothing but hashes.

    trace_ids  that are known to be the unit's; traces: how many of them stand in the pack, as text or as evidence
    """

    path: Path
    experiment: str
    is_incident: bool
    trace_ids: frozenset[str]
    traces: int


def hash_of(unit: str, experiment: str, secret: bytes) -> int:
    """As the evidence of an experiment has it."""
    return int(salted(hash_ids(pl.Series([unit]), "unit", secret), experiment, secret)[0])


def look(path: Path, trace_ids: Collection[str], hash_in: Callable[[str], int]) -> InPack:
    """What a pack has of a unit.

    trace_ids  that are known to be the unit's; others are found by the unit's hash in the pack's own ledger
    hash_in    gives that hash in an experiment

    Raises ArchiveUnreadable where the pack is not as it was written.
    """
    pack = read_archive(path)
    if pack.manifest.incident is None:
        return InPack(path, pack.manifest.experiment, False, frozenset(), 0)
    places = set(_places(pack, hash_in(pack.manifest.experiment)))
    named = [json.loads(line) for line in pack.files[EVIDENCE].splitlines()]
    theirs = {str(one["trace_id"]) for one in named if _place(one) in places} | set(trace_ids)
    lines = [json.loads(line)["trace_id"] for name in (TRACES, EVIDENCE) for line in pack.files[name].splitlines()]
    return InPack(path, pack.manifest.experiment, True, frozenset(theirs), len(theirs.intersection(lines)))


def erase(found: InPack, on: str) -> int:
    """Takes a unit's traces out of a pack, whole or not at all; gives how many texts of them were in it.

    on  the day, as the README will have it

    Raises ArchiveUnreadable where the pack is not as it was written.
    """
    if not found.traces:
        return 0
    pack = read_archive(found.path)
    kept = {name: _without(pack.files[name], found.trace_ids) for name in (TRACES, EVIDENCE)}
    erased = len(pack.files[TRACES].splitlines()) - len(kept[TRACES].splitlines())
    note = f"- {erased} traces of one person were erased on {on}, as the law demands.\n".encode()
    _write(found.path, pack.manifest, {**pack.files, **kept, README: pack.files[README] + note})
    return erased


def _place(evidence: dict[str, dict[str, object]]) -> tuple[object, ...]:
    source = evidence["source"]
    return source["topic"], source["partition"], source["offset"]


def _without(lines: bytes, trace_ids: Collection[object]) -> bytes:
    return b"".join(line for line in lines.splitlines(True) if json.loads(line)["trace_id"] not in trace_ids)


def _places(pack: Archive, wanted: int) -> Iterator[Place]:
    """Where the rows of a unit came from, by its hash."""
    for entry in pack.ledger:
        block = _block(entry.value)
        if block is not None and block.experiment == pack.manifest.experiment:
            columns = block_columns(block)
            for row in np.flatnonzero(columns.unit == np.uint64(wanted)).tolist():
                source = block.sources[int(columns.source[row])]
                yield source.topic, source.partition, int(columns.offset[row])


def _block(value: bytes) -> EvidenceBlock | None:
    """None for other facts, and for what the judge passed over."""
    try:
        fact = ledger.decode(value)
    except WireError:
        return None
    return fact if isinstance(fact, EvidenceBlock) else None


def _write(path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Beside the pack, then in its place; the old one is gone before the new one stands there."""
    if manifest.incident is None:
        raise ArchiveUnreadable(f"{path} is no pack")
    stated = tuple(file_of(file.name, files[file.name]) for file in manifest.files)
    now = manifest.model_copy(update={"incident": manifest.incident.model_copy(update={"files": stated})})
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    try:
        for part in manifest.parts:
            shutil.copyfile(path / part.name, partial / part.name)
        for name, data in {**files, MANIFEST: now.to_bytes(), MANIFEST_SUM: sum_line(now.to_bytes())}.items():
            (partial / name).write_bytes(data)
        partial.chmod(0o755)
        shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

"""What stands in an archive or an incident pack, and the sum of each part of it."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stoploss.errors import ArchiveUnreadable

FORMAT: Final = "stoploss-archive/1"
INCIDENT_FORMAT: Final = "stoploss-incident/1"
MANIFEST, MANIFEST_SUM = "manifest.json", "manifest.json.sha256"

Kind = Literal["ledger", "journal", "commands", "checkpoints"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(_Frozen):
    """One Arrow IPC stream; the parts of a kind follow each other in the order of the manifest."""

    name: str = Field(pattern=r"^[a-z]+-[0-9]{4}\.arrow$")
    kind: Kind
    rows: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class WrittenSchema(_Frozen):
    """A version of a record's Avro schema, whole: who has the file needs no stoploss to read the values in it."""

    name: str
    version: int
    avro: dict[str, Any]


class File(_Frozen):
    """A file beside the parts, for people and for other programs."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*\.(md|yaml|json|jsonl)$")
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class OfIncident(_Frozen):
    """What a pack has beyond an archive: the command that it is about, its run, and the files for people."""

    command_id: str = Field(pattern=r"^[0-9a-f]{64}$")
    run: int = Field(ge=0)
    files: tuple[File, ...]


class Manifest(_Frozen):
    """The archive of one experiment, or the pack of one of its incidents: the same parts, up to the incident's end.

    stoploss          version that wrote the file, not the one that judged: that stands in the ledger
    ledger_partition  where the experiment stood
    control_topic     that its commands name: a replay needs it to make the same bytes
    public_keys       PEM by key id; who only has the file cannot know whose they are
    schemas           by fingerprint, hex: bytes 2 to 10 of each value
    incident          of a pack; None: the archive of a whole experiment
    """

    format: Literal["stoploss-archive/1", "stoploss-incident/1"] = FORMAT
    stoploss: str
    experiment: str
    ledger_partition: int = Field(ge=0)
    control_topic: str
    public_keys: dict[str, str]
    schemas: dict[str, WrittenSchema]
    parts: tuple[Part, ...]
    incident: OfIncident | None = None

    @model_validator(mode="after")
    def pack_says_its_incident(self) -> Manifest:
        if (self.incident is None) != (self.format == FORMAT):
            raise ValueError(f"a manifest of {self.format} {'lacks' if self.incident is None else 'has'} an incident")
        return self

    @property
    def files(self) -> tuple[File, ...]:
        return self.incident.files if self.incident else ()

    def of(self, kind: Kind) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.kind == kind)

    def rows(self, kind: Kind) -> int:
        return sum(part.rows for part in self.of(kind))

    def to_bytes(self) -> bytes:
        without = {"incident"} if self.incident is None else None
        return f"{self.model_dump_json(indent=2, exclude=without)}\n".encode()


def file_of(name: str, data: bytes) -> File:
    return File(name=name, size_bytes=len(data), sha256=sum_of(data))


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sum_line(data: bytes) -> bytes:
    """The manifest's own sum, as `sha256sum --check` reads it."""
    return f"{sum_of(data)}  {MANIFEST}\n".encode()


def read_manifest(data: bytes, path: object) -> Manifest:
    """Raises ArchiveUnreadable where it is of another format, or no manifest at all."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ArchiveUnreadable(
            f"{path}: {MANIFEST} is none that this version reads ({where}: {first['msg']}); it reads {FORMAT} and "
            f"{INCIDENT_FORMAT}"
        ) from error

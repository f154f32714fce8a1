"""The registry: spec in force, lifecycle, run and desired state of each experiment; the judge alone writes it."""

from __future__ import annotations

from dataclasses import dataclass

from stoploss.commands import Micros, Segment
from stoploss.governance.record import Amendment, Approval, Completion
from stoploss.wire import records


@dataclass(frozen=True, slots=True)
class Rechecked:
    """A baseline of the spec that somebody has looked at again: it still held, at this ledger time."""

    item: str
    at: Micros


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """
    served_at  when a controller had first applied the command; None: what it orders is served by nobody yet
    """

    experiment: str
    partition: int
    spec: str
    spec_hash: str
    lifecycle: str
    run: int
    epoch: int
    sequence: int
    release_variant: str
    exposure: float
    stopped_segments: tuple[Segment, ...]
    command_id: str | None
    changed_at: Micros
    offset: int
    recommendation: str | None = None
    in_flight: int | None = None
    after_stop: int | None = None
    first_harm_at: Micros | None = None
    last_exposure_at: Micros | None = None
    open_incidents: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    completion: Completion | None = None
    rehearsed_at: Micros | None = None
    ramp: str | None = None
    rechecked: tuple[Rechecked, ...] = ()
    unexplained_at: Micros | None = None
    served_at: Micros | None = None


def encode(entry: RegistryEntry) -> bytes:
    return records.encode("registry_entry", entry)


def decode(value: bytes | None) -> RegistryEntry:
    return records.decode(value, {"registry_entry": RegistryEntry}, own=True)

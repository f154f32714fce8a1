"""Leases: the monitor's sign of life for the runs that it watches.

A lease is what `step` says when a canary has come out of the ledger, so it stands for the whole way: source topic,
intake, ledger, judge and its fence. A service that hears no lease any more gives everybody the control variant.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoploss.commands import Micros
from stoploss.wire import records


@dataclass(frozen=True, slots=True)
class LeasedRun:
    """A run that is watched."""

    experiment: str
    run: int


@dataclass(frozen=True, slots=True)
class Lease:
    """watermark: the ledger offset of the canary's row, which only rises; at: its ledger time."""

    partition: int
    watermark: int
    experiments: tuple[LeasedRun, ...]
    at: Micros


def encode(lease: Lease) -> bytes:
    return records.encode("lease", lease)


def decode(value: bytes | None) -> Lease:
    return records.decode(value, {"lease": Lease})

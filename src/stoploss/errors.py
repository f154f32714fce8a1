"""The tree of errors. Every message names the thing, the value and the way out.

StoplossError
├── ConfigurationError        a setting, key or file of the installation is wrong
│   └── EmbeddedUnavailable   the embedded Kafka or ClickHouse cannot start here
├── InvalidExperiment         a spec is refused; carries every violation with its line and field
├── WireError                 bytes that cannot be read
│   ├── UnknownSchema         a framing names a schema that nobody here knows
│   └── MalformedRecord       a datum that is not of its schema
├── SchemaRefused             a schema registry does not take a schema beside those that it has
├── CommandRefused            a receiver does not obey: forged, expired, out of order
├── RequestRefused            an action that the lifecycle does not allow now
├── SnapshotUnreadable        a stored state that does not verify or is of an unknown format
├── ArchiveUnreadable         an archive that is damaged, cut off, or none at all
├── ReplayDiverged            a fold of the ledger and the stored journal disagree
├── LedgerIncomplete          what a judge was about to fold was deleted; it restores anew
├── DeliveryFailed            Kafka refused or lost a record; the worker must end and restart
└── Fenced                    another owner has taken over; the process must end, never re-initialise
"""

from __future__ import annotations

from dataclasses import dataclass


class StoplossError(Exception):
    """Anything stoploss refuses or cannot do, in one sentence with a way out."""


class ConfigurationError(StoplossError):
    pass


class EmbeddedUnavailable(ConfigurationError):
    pass


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a file: where, what, and what to do."""

    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}, " if self.line else ""
        return f"{where}{self.field}: {self.message}"


class InvalidExperiment(StoplossError):
    def __init__(self, name: str, violations: list[Violation]) -> None:
        self.name = name
        self.violations = violations
        super().__init__(f"{name} is refused: " + "; ".join(str(v) for v in violations))


class WireError(StoplossError):
    pass


class UnknownSchema(WireError):
    pass


class MalformedRecord(WireError):
    pass


class SchemaRefused(StoplossError):
    pass


class CommandRefused(StoplossError):
    pass


class RequestRefused(StoplossError):
    pass


class SnapshotUnreadable(StoplossError):
    pass


class ArchiveUnreadable(StoplossError):
    pass


class ReplayDiverged(StoplossError):
    pass


class LedgerIncomplete(StoplossError):
    pass


class DeliveryFailed(StoplossError):
    pass


class Fenced(StoplossError):
    pass

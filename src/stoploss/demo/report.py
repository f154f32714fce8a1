"""What the demo found, as data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stoploss.cli.output import write_file


@dataclass(slots=True)
class Story:
    """One experiment of the demo; None is "did not happen".

    seconds_harm_to_command  from handing the first harmful trace to the SDK to the signed command in a reader's hands
    seconds_command_to_flag  from the command's being written to Kafka to the new flag file, by the controller's clock
    in_flight_at_stop        requests of the treatment that had begun when the stop was decided
    exposures_after_stop     requests of the treatment that began later
    notices                  breaches that people are told of while the variant is left where it is
    """

    experiment: str
    story: str
    harm: str
    lifecycle: str
    action: str | None = None
    reason: str | None = None
    first_harm_at: str | None = None
    command_at: str | None = None
    seconds_harm_to_command: float | None = None
    seconds_command_to_flag: float | None = None
    in_flight_at_stop: int | None = None
    exposures_after_stop: int | None = None
    notices: list[str] = field(default_factory=list)
    journal_entries: int = 0
    replay_identical: bool = False


@dataclass(slots=True)
class Report:
    """The demo's result; the top-level seconds are those of the headline experiment."""

    traffic: str
    traces_sent: int = 0
    traces_stored: int = 0
    traces_dropped: int = 0
    dead_lettered: int = 0
    malformed_sent: int = 0
    experiments: list[Story] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    first_harm_at: str | None = None
    command_at: str | None = None
    seconds_harm_to_command: float | None = None
    seconds_command_to_flag: float | None = None
    exposures_after_stop: int | None = None
    journal_entries: int = 0
    replay_identical: bool = False
    traces_per_second: float = 0.0
    seconds_to_ready: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        write_file(path, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


def timestamp(at_s: float) -> str:
    """Seconds since 1970 as RFC 3339, UTC, with milliseconds."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""What stands in an incident pack beside the archive's parts: files for people and for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stoploss import ledger
from stoploss.errors import WireError
from stoploss.incidents.evidence import FoundRows, Harmful
from stoploss.incidents.subject import Subject
from stoploss.incidents.traces import WITHHELD, Shown, evidence_fields
from stoploss.ledger import JudgeVersion
from stoploss.replay import StoredEntry
from stoploss.review.words import count, utc

README, SPEC, VERSIONS, TRACES, EVIDENCE = "README.md", "spec.yaml", "versions.json", "traces.jsonl", "evidence.jsonl"


@dataclass(frozen=True, slots=True)
class Harm:
    """What was found behind a command: rows by finding, and their traces."""

    found: tuple[FoundRows, ...]
    shown: tuple[Shown, ...]

    @property
    def missing(self) -> int:
        """Rows whose trace is not stored."""
        return sum(one.trace is None for one in self.shown)

    @property
    def left_out(self) -> int:
        """Rows that are evidence too, beyond the number that is given of one finding."""
        return sum(found.of - len(found.rows) for found in self.found)


def versions(entries: Iterable[StoredEntry], packed_by: JudgeVersion) -> dict[str, Any]:
    """Who judged the ledger, from which offset on, and who made the pack."""
    judged = [(offset, version) for offset, version in _announced(entries)]
    spans = [{"from_ledger_offset": offset, **_named(version)} for offset, version in judged]
    return {"packed_by": _named(packed_by), "judged_by": spans}


def _announced(entries: Iterable[StoredEntry]) -> Iterable[tuple[int, JudgeVersion]]:
    """A version that takes over from itself is not said again."""
    last = ""
    for entry in entries:
        try:
            fact = ledger.decode(entry.value)
        except WireError:
            continue
        if isinstance(fact, JudgeVersion) and fact.text != last:
            last = fact.text
            yield entry.offset, fact


def _named(version: JudgeVersion) -> dict[str, str]:
    return {name: value for name, value in asdict(version).items() if name != "partition"}


def files(subject: Subject, spec: str, judged: dict[str, Any], harm: Harm) -> dict[str, bytes]:
    """By name, in the order in which a reader wants them."""
    traces = {one.trace["trace_id"]: evidence_fields(one.trace) for one in harm.shown if one.trace is not None}
    return {
        README: readme(subject, judged, harm).encode(),
        SPEC: spec.encode(),
        VERSIONS: f"{json.dumps(judged, indent=2)}\n".encode(),
        TRACES: _lines(traces.values()),
        EVIDENCE: _lines(_evidence(one.row, one.trace) for one in harm.shown),
    }


def _lines(objects: Iterable[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in objects).encode()


def _evidence(row: Harmful, trace: dict[str, Any] | None) -> dict[str, Any]:
    """Why a trace is in the pack, and where it stood."""
    source = {"topic": row.source.topic, "partition": row.source.partition, "offset": row.offset}
    said = {"rule": row.rule, "metric": row.metric, "segment": row.segment, "why": row.why, "finding": row.finding}
    named = {"trace_id": trace["trace_id"] if trace else None, "outcome": row.outcome}
    return {**named, **said, "ledger_offset": row.ledger_offset, "source": source}


# ---- the page inside -------------------------------------------------------------------------------


def readme(subject: Subject, judged: dict[str, Any], harm: Harm) -> str:
    """What the folder is, and the one command."""
    return "\n".join([*_what_it_is(subject, judged), *_what_is_in_it(), *_what_is_not(harm)]) + "\n"


def _what_it_is(subject: Subject, judged: dict[str, Any]) -> list[str]:
    version = judged["judged_by"][-1]["stoploss"] if judged["judged_by"] else judged["packed_by"]["stoploss"]
    return [
        f"# Incident of experiment {subject.experiment}",
        "",
        f"Command `{subject.command_id}` ({subject.action}), run {subject.run}, decided {utc(subject.issued.at)}.",
        "",
        "This folder judges the incident again, from the recorded facts alone: no Kafka, no ClickHouse, no network.",
        f"Install stoploss {version} (`pip install stoploss=={version}`) and run, in this folder:",
        "",
        "    stoploss replay .",
        "",
        "It prints whether every conclusion comes out as it was recorded, byte for byte.",
        "`stoploss verify . --key monitor.pub` checks the monitor's signatures; take the key from the installation,",
        "not from here, for whoever could forge the one could forge the other. `sha256sum --check",
        "manifest.json.sha256` checks the manifest, and the manifest has the sum of every other file.",
        "",
    ]


def _what_is_in_it() -> list[str]:
    return [
        "| file | what it is |",
        "|---|---|",
        "| `ledger-*.arrow` | the facts that the judge folded, from the first of the partition (state is folded from "
        "there) to the last about this command; what other experiments alone were told is left out |",
        "| `journal-*.arrow` | what the monitor concluded up to there, each entry with the hash of the one before |",
        "| `commands-*.arrow`, `checkpoints-*.arrow` | signed commands, and signatures under the journal |",
        f"| `{SPEC}` | the experiment as it was registered |",
        f"| `{VERSIONS}` | who judged, and with which libraries |",
        f"| `{TRACES}` | the traces that were evidence of harm, masked; `stoploss emit` reads them |",
        f"| `{EVIDENCE}` | why each of them is here, and where it stood |",
        "",
    ]


def _what_is_not(harm: Harm) -> list[str]:
    """What a reader would else look for."""
    reasons = [found.none_because for found in harm.found if found.none_because]
    notes = [
        f"Texts are masked, and {' and '.join(WITHHELD)} are withheld.",
        f"{count(len(harm.shown))} rows were evidence and are named." if harm.shown else "No row is named.",
        *(f"{reason[0].upper()}{reason[1:]}." for reason in reasons),
    ]
    if harm.left_out:
        notes.append(f"{count(harm.left_out)} more rows were evidence too and are left out.")
    if harm.missing:
        notes.append(f"The traces of {count(harm.missing)} rows are not stored (yet, or any more).")
    return ["What is not here:", "", *(f"- {note}" for note in notes)]


def found_places(found: Sequence[FoundRows]) -> list[Harmful]:
    """All rows of all findings, each once; of a row that is evidence of two, the first finding stays."""
    rows = {(row.source, row.offset): row for one in reversed(found) for row in reversed(one.rows)}
    return list(reversed(rows.values()))

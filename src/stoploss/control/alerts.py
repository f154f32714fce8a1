"""What on-call people are told, made from commands, findings and overdue acks; how it is sent is elsewhere."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from urllib.parse import quote

from stoploss.commands import Action, Command, Evidence, Micros, Segment
from stoploss.journal import EvidenceRefused, Finding, JournalEntry, MonitorBlind
from stoploss.ledger import AckOverdue

Identity = tuple[tuple[str, str], ...]
"""The labels of an alert, sorted: what is the same in two alerts about the same thing."""

OVERDUE = "StoplossCommandOverdue"
BLIND = "StoplossMonitorBlind"
FINDING = "StoplossFinding"
SEVERITY = {
    Action.STOP: "page",
    Action.ROLLBACK: "page",
    Action.STOP_SEGMENT: "page",
    Action.PAUSE: "hold",
    Action.THROTTLE: "hold",
    Action.SET_EXPOSURE: "info",
    Action.UNKNOWN: "info",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell; the same labels again mean the same thing.

    severity    page | hold | info, as findings have it
    evidence    a sentence with the numbers compared; "" where there is none
    runbook     address of what to do; "" where the spec names none
    starts_at   ledger time
    ends_at     when it was over; None: it is firing
    amended     that what was preregistered has been changed since, and by whom; "" where nobody has
    generator   address of the console's page about it; "" for none
    """

    alertname: str
    severity: str
    experiment: str
    variant: str
    segment: str
    rule: str
    run: int
    summary: str
    evidence: str
    runbook: str
    starts_at: Micros
    ends_at: Micros | None = None
    generator: str = ""
    amended: str = ""

    @property
    def status(self) -> str:
        return "firing" if self.ends_at is None else "resolved"

    @property
    def labels(self) -> dict[str, str]:
        """What identifies it, without empty values, as Alertmanager has it; the run is an annotation."""
        names = ("alertname", "severity", "experiment", "variant", "segment", "rule")
        return {name: value for name in names if (value := getattr(self, name))}

    @property
    def identity(self) -> Identity:
        return tuple(sorted(self.labels.items()))

    @property
    def annotations(self) -> dict[str, str]:
        told = {
            "summary": self.summary,
            "evidence": self.evidence,
            "runbook_url": self.runbook,
            "console_url": self.generator,
            "run": str(self.run),
            "amended": self.amended,
        }
        return {name: value for name, value in told.items() if value}


def alertname_of(action: Action) -> str:
    return "Stoploss" + action.value.title().replace("_", "")


def alert_for(command: Command, *, runbook: str = "") -> Alert:
    """A command was issued; a dry run is told, but wakes nobody."""
    evidence = command.evidence
    reason = _told(evidence, f"{command.action.value} {command.experiment!r}", command.reason)
    return Alert(
        alertname=alertname_of(command.action),
        severity="info" if command.dry_run else SEVERITY[command.action],
        experiment=command.experiment,
        variant=command.treatment_variant,
        segment=segment_text(evidence),
        rule=evidence.rule if evidence else "",
        run=command.run,
        summary=f"Dry run: {reason}" if command.dry_run else reason,
        evidence=evidence_sentence(evidence) if evidence else "",
        runbook=runbook,
        starts_at=command.decided_at,
    )


def alert_for_finding(entry: JournalEntry, finding: Finding, *, variant: str = "", runbook: str = "") -> Alert:
    """A verdict changed.

    entry    the journal entry whose conclusion the finding is
    variant  the variant that it speaks of, "" for the experiment as a whole
    """
    return Alert(
        alertname=FINDING,
        severity=finding.severity,
        experiment=entry.experiment,
        variant=variant,
        segment=segment_text(finding.evidence),
        rule=finding.evidence.rule,
        run=entry.run,
        summary=_told(finding.evidence, finding.verdict, finding.sentence),
        evidence=evidence_sentence(finding.evidence),
        runbook=runbook,
        starts_at=entry.at,
    )


def alert_for_blind(entry: JournalEntry, blind: MonitorBlind, *, runbook: str = "") -> Alert:
    """The monitor does not see what an experiment does: nobody would notice harm."""
    summary = f"The monitor is blind for {entry.experiment}: {blind.reason}"
    return _of_experiment(entry, BLIND, "page", "blind", summary, blind.since, runbook)


def alert_for_undeclared(entry: JournalEntry, refused: EvidenceRefused, *, runbook: str = "") -> Alert:
    """Somebody is served a variant that the spec does not name: no rule looks at it, and no command takes it away."""
    summary = f"{refused.rows:,} traces of {entry.experiment} name a variant that its spec does not declare"
    return _of_experiment(entry, FINDING, "hold", "undeclared_variant", summary, entry.at, runbook)


def _of_experiment(
    entry: JournalEntry, alertname: str, severity: str, rule: str, summary: str, since: Micros, runbook: str
) -> Alert:
    """Of an experiment as a whole, without numbers that are compared."""
    return Alert(
        alertname=alertname,
        severity=severity,
        experiment=entry.experiment,
        variant="",
        segment="",
        rule=rule,
        run=entry.run,
        summary=summary,
        evidence="",
        runbook=runbook,
        starts_at=since,
    )


def alert_for_overdue(command: Command, overdue: AckOverdue, *, at: Micros, runbook: str = "") -> Alert:
    """An instance of a controller has not applied a command: whatever was stopped may still be running."""
    who = f"{overdue.controller}/{overdue.instance}" if overdue.instance else overdue.controller
    return Alert(
        alertname=OVERDUE,
        severity="page",
        experiment=command.experiment,
        variant=command.treatment_variant,
        segment="",
        rule=f"acks/{who}",
        run=command.run,
        summary=(
            f"Controller {who} has not applied {command.action.value} of {command.experiment} "
            f"after {overdue.waited_ms / 1000:.1f} s and {overdue.resent} re-sends: {command.treatment_variant} "
            "may still be serving. Set the flag by hand."
        ),
        evidence="",
        runbook=runbook,
        starts_at=at,
    )


def linked(alert: Alert, *, console: str = "", runbooks: str = "", amended: str = "") -> Alert:
    """The alert with the addresses that people open from it, and what they have to know of its spec.

    console   address of the console; the link leads to the experiment's page there
    runbooks  address of the runbook, whose chapters are named after alerts; the spec's own runbook stands before it
    """
    return dataclasses.replace(
        alert,
        generator=console and f"{console.rstrip('/')}/experiments/{quote(alert.experiment, safe='')}",
        amended=amended,
        runbook=alert.runbook or (runbooks and f"{runbooks}#{alert.alertname.lower()}"),
    )


def resolved(alert: Alert, at: Micros) -> Alert:
    """The same alert, over."""
    return dataclasses.replace(alert, ends_at=at)


def _told(evidence: Evidence | None, what: str, sentence: str) -> str:
    """The sentence, or of a segment what may be told: here nobody knows whether its numbers give away a small one's."""
    if evidence is None or evidence.segment is None:
        return sentence
    subject = evidence.metric or evidence.rule
    return f"{what}: {subject} for {evidence.segment}; its numbers: stoploss explain"


def segment_text(evidence: Evidence | None) -> str:
    segment: Segment | None = evidence.segment if evidence else None
    return str(segment) if segment else ""


def evidence_sentence(evidence: Evidence) -> str:
    """The numbers compared, in words; what there is no data for is left out, never shown as 0.

    >>> evidence_sentence(Evidence("guardrail", 1, metric="error_rate", control=0.02, treatment=0.09, margin=0.1,
    ...                            n_control=1200, n_treatment=1150))
    'error_rate: control 0.02 (1,200 rows), treatment 0.09 (1,150 rows); margin 0.1'
    """
    subject = evidence.metric or evidence.rule
    if evidence.segment is not None:
        return f"{subject} in {evidence.segment}: its numbers: stoploss explain"
    parts = [_arms(evidence), _effect(evidence), _compared(evidence)]
    told = "; ".join(part for part in parts if part)
    return f"{subject}: {told or 'no numbers'}"


def _arms(evidence: Evidence) -> str:
    arms = (
        ("control", evidence.control, evidence.n_control, evidence.units_control),
        ("treatment", evidence.treatment, evidence.n_treatment, evidence.units_treatment),
    )
    return ", ".join(
        f"{name} {value:.6g}{_behind(rows, units)}" for name, value, rows, units in arms if value is not None
    )


def _behind(rows: int, units: int) -> str:
    counts = [f"{count:,} {what}" for count, what in ((rows, "rows"), (units, "units")) if count]
    return f" ({', '.join(counts)})" if counts else ""


def _effect(evidence: Evidence) -> str:
    limits = []
    if evidence.lower is not None:
        limits.append(f"effect at least {evidence.lower:.6g}")
    if evidence.upper is not None:
        limits.append(f"effect at most {evidence.upper:.6g}")
    if evidence.margin is not None:
        limits.append(f"margin {evidence.margin:.6g}")
    return ", ".join(limits)


def _compared(evidence: Evidence) -> str:
    if evidence.observed is None:
        return ""
    against = "" if evidence.bound is None else f" against {evidence.bound:.6g}"
    return f"{evidence.statistic or 'observed'} {evidence.observed:.6g}{against}"

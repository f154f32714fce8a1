"""The story of a run in Markdown: its epochs, its commands and their answers, what was found, what people decided."""

from __future__ import annotations

from collections.abc import Iterator

from stoploss.review.chain import CommandLine
from stoploss.review.document import Review
from stoploss.review.mark import escaped, table
from stoploss.review.words import count, duration, share, utc


def epochs(review: Review) -> Iterator[str]:
    yield "## Exposure over time"
    yield ""
    if not review.epochs:
        yield "No epoch has opened: no variant was compared."
        return
    rows = ((str(line.epoch), utc(line.at), share(line.exposure)) for line in review.epochs)
    yield from table(("epoch", "opened", "may get B"), rows)


def commands(review: Review) -> Iterator[str]:
    yield "## Commands"
    yield ""
    if not review.commands:
        yield "None in this run."
        return
    header = ("decided", "command", "exposure", "why", "answers")
    yield from table(header, (_command_row(command) for command in review.commands))


def _command_row(command: CommandLine) -> tuple[str, ...]:
    answers = [f"{ack.controller} {ack.status} after {duration(ack.delay_ms)}" for ack in command.acks]
    answers += [f"{name} has not applied it yet" for name in command.unanswered]
    return (
        utc(command.decided_at),
        f"{command.action} (sequence {command.sequence}, {command.command_id[:12]}…)",
        share(command.exposure),
        command.reason,
        "; ".join(answers) or "none needed",
    )


def exposures(review: Review) -> Iterator[str]:
    yield "## Exposures after the stop"
    yield ""
    if not review.exposures:
        yield "None counted: nothing was stopped, or no count has been recorded yet."
        return
    took = "first harm to last exposure"
    header = ("command", "in flight at the decision", "begun after it", "first harm", "last one begun", took)
    rows = (
        (
            f"{c.command_id[:12]}…",
            count(c.in_flight),
            count(c.after_stop),
            utc(c.first_harm_at),
            utc(c.last_at),
            duration(c.harm_to_last_ms),
        )
        for c in review.exposures
    )
    yield from table(header, rows)


def findings(review: Review) -> Iterator[str]:
    yield "## Findings"
    yield ""
    if not review.findings:
        yield "No verdict has changed in this run."
    for finding in review.findings:
        place = finding.place
        yield (
            f"- {utc(finding.at)}, {finding.verdict}: {escaped(finding.sentence)} "
            f"(ledger {place.ledger_partition}/{place.ledger_offset}, journal {place.journal_number})"
        )


def people(review: Review) -> Iterator[str]:
    if not review.people:
        return
    yield "## What people decided"
    yield ""
    rows = ((utc(line.at), line.action, line.by, line.reason) for line in review.people)
    yield from table(("when", "what", "who", "terms and reason"), rows)


def offline(review: Review) -> Iterator[str]:
    """Beside the evidence of production: what became of its harm where evaluation is done before a start."""
    found = review.offline
    if not (found.promoted or found.declined or found.undecided):
        return
    yield "## Regression cases"
    yield ""
    for promoted in found.promoted:
        where = f"{promoted.evaluation_set} {promoted.version}"
        yield f"- {escaped(where)}: {count(len(promoted.cases))} cases, promoted by {escaped(promoted.by)}"
        for result in promoted.results:
            passed, failed = count(len(result.passed)), count(len(result.failed))
            yield f"  - {escaped(result.subject)}: {passed} passed, {failed} failed ({utc(result.at)})"
        if not promoted.results:
            yield "  - no offline result yet"
    for declined in found.declined:
        yield f"- declined by {escaped(declined.by)}: {escaped(declined.why)}"
    for command_id in found.undecided:
        yield f"- nobody has promoted or declined the harm of command {command_id[:12]}: `stoploss cases`"

"""What a review rests on, in Markdown: evidence, preregistration, watches, duties, traces, gaps, reproduction."""

from __future__ import annotations

from collections.abc import Iterator

from stoploss.review.document import Review
from stoploss.review.mark import escaped, labelled, table
from stoploss.review.owed import BaselineLine, duty_text
from stoploss.review.promise import Kept
from stoploss.review.reproduction import SignedUpTo
from stoploss.review.samples import TraceLine
from stoploss.review.watched import GROUPS, OTHERS, compared_text, of_group
from stoploss.review.words import count, listed, quantity, share, signed, utc

DIGITS = 12


def evidence(review: Review) -> Iterator[str]:
    yield "## Evidence for a rollout"
    yield ""
    yield from table(
        ("kind", "standing", "what it says"), ((kind.kind, kind.standing, kind.says) for kind in review.evidence.kinds)
    )
    yield ""
    against = review.evidence.contradiction
    yield f"They contradict each other: {escaped(against)}." if against else "They do not contradict each other."


def preregistration(review: Review) -> Iterator[str]:
    found = review.preregistered
    yield "## As preregistered"
    yield ""
    when = f"{utc(found.at)} by {found.by}" if found.at else "at a time that is not stored"
    yield f"Registered {escaped(when)}, spec {found.spec_hash[:DIGITS]}. What was frozen then:"
    yield ""
    yield from table(("what", "as registered"), ((term.name, term.text) for term in found.terms))
    yield ""
    if not found.amendments:
        yield "Nothing was amended since."
        return
    yield "Amended since:"
    yield ""
    rows = (
        (utc(one.at), one.by, listed(one.fields), one.reason, "lost" if one.voided else "kept")
        for one in found.amendments
    )
    yield from table(("when", "who", "fields", "reason", "approvals"), rows)


def watches(review: Review) -> Iterator[str]:
    for group in (*(name for name, _ in GROUPS), OTHERS):
        yield f"## {group}"
        yield ""
        lines = list(of_group(review.watched, group))
        if not lines:
            yield "Nothing of it was judged."
        else:
            rows = (
                (line.rule, line.metric or "", line.verdict, compared_text(line), line.said, utc(line.at))
                for line in lines
            )
            yield from table(("rule", "of", "verdict", "compared", "why", "as of"), rows)
        if group != OTHERS:
            yield ""


def due(review: Review) -> Iterator[str]:
    yield "## What people owe"
    yield ""
    for duty in review.owed.duties:
        yield f"- {'Overdue: ' if duty.overdue else ''}{escaped(duty_text(duty))}."
    if not review.owed.duties:
        yield "No review or assessment is due."
    yield ""
    if not review.owed.baselines:
        yield "The spec names no baselines."
        return
    rows = map(_baseline, review.owed.baselines)
    yield from table(("baseline", "value", "source", "looked at", "look again by"), rows)


def _baseline(one: BaselineLine) -> tuple[str, ...]:
    due = f"overdue since {one.due}" if one.overdue else str(one.due)
    return (one.item, one.value, one.source, str(one.looked_at), due)


def production(review: Review) -> Iterator[str]:
    """Only after a rollout."""
    if not review.production:
        return
    yield "## Promise and production"
    yield ""
    yield "What B did in the experiment, and what its traces and outcomes say since the rollout."
    yield ""
    header = ("", "metric", "A then", "B then", "B since", "n since", "change against the promise")
    yield from table(header, map(_kept, review.production))


def _kept(line: Kept) -> tuple[str, ...]:
    change = share(line.change) if line.relative else quantity(line.change, line.unit)
    means = (quantity(mean, line.unit) for mean in (line.control, line.promised, line.production))
    return (line.what, line.metric, *means, count(line.n), "no data" if line.change is None else signed(change))


def traces(review: Review) -> Iterator[str]:
    """Nothing where no traces were asked for."""
    samples = review.samples
    if samples.drawn:
        yield "## A sample of traces"
        yield ""
        drawn = [f"{count(one.traces)} of {count(one.of)} of '{one.variant}'" for one in samples.drawn]
        yield f"Drawn with seed {samples.seed}, whatever they say; masked: {escaped(listed(drawn))}."
        yield ""
        rows = ((*_trace(line), line.input_text or "", line.output_text or "") for line in samples.representative)
        yield from table(("trace", "variant", "measured", "asked", "answered"), rows)
        yield ""
    if samples.harmful or samples.missing:
        yield "## Traces of harm"
        yield ""
        for missing in samples.missing:
            yield f"- {escaped(missing)}."
        if samples.harmful:
            yield ""
            yield from table(
                ("trace", "variant", "measured", "why", "answered"),
                ((*_trace(line), line.why or "", line.output_text or "") for line in samples.harmful),
            )


def _trace(line: TraceLine) -> tuple[str, str, str]:
    return (f"{line.trace_id} ({line.place})", line.variant, "; ".join((utc(line.at), *line.facts)))


def unknown(review: Review) -> Iterator[str]:
    yield "## What is not known"
    yield ""
    for sentence in review.unknown:
        yield f"- {escaped(sentence)}."
    for name in review.not_enforced:
        yield f"- The spec asks for {escaped(name)}; this version recorded it and did not act on it."
    if not (review.unknown or review.not_enforced):
        yield "Everything the spec asks for was enforced, all rows were judged, and every guardrail is decided."


def lessons(review: Review) -> Iterator[str]:
    yield "## Lessons"
    yield ""
    for lesson in review.lessons:
        yield f"- {escaped(lesson.text)} ({escaped(lesson.by)}, {utc(lesson.at)})"
    if not review.lessons:
        yield "None was written down: `stoploss note --kind lesson`, or `stoploss complete --lesson`."


def reproducing(review: Review) -> Iterator[str]:
    found = review.reproduction
    yield "## To reproduce it"
    yield ""
    yield labelled("Spec", f"{found.spec_hash} (SHA-256 of its canonical form)")
    yield labelled(
        "Ledger", f"partition {found.ledger_partition}, offsets {_span(found.first_offset, found.last_offset)}"
    )
    entries = _span(found.first_number, found.last_number)
    yield labelled("Journal", f"entries {entries}, each with the hash of the one before")
    yield labelled("Signed", _signed(found.signed))
    for one in found.judged_by:
        yield labelled("Judged by", f"{one.version}, from ledger offset {one.from_offset}")
    for command in found.commands:
        yield labelled("Command", command)


def _signed(signed: SignedUpTo | None) -> str:
    if signed is None:
        return "no checkpoint is stored"
    return f"up to entry {signed.number}, whose hash is {signed.chain}, {utc(signed.at)}"


def _span(first: int | None, last: int | None) -> str:
    return "none" if first is None or last is None else f"{first} to {last}"

"""A review as Markdown: the first lines are the template, the tables behind them the reasons."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from stoploss.review.blindness import BlindLine
from stoploss.review.chain import CommandLine
from stoploss.review.document import ArmNumbers, Comparison, Review, VariantLine
from stoploss.review.guardrails import (
    GuardrailResult,
    evidence_text,
    interval_text,
    margin_text,
    metric_text,
    standing_out,
)
from stoploss.review.recommended import flip_text, recommendation_text, term_text
from stoploss.review.words import (
    NO_DATA,
    count,
    duration,
    listed,
    printable,
    quantity,
    share,
    signed,
    utc,
)

MOST_NAMED = 10
_SPECIAL = re.compile(r"([\\|`*<\[\]])")


def markdown(review: Review) -> str:
    """The whole document; ends in a newline."""
    tables = (_worth, _guardrails, _gates, _results, _commands, _exposures, _segments, _findings, _people, _offline)
    parts = (_head, *tables, _footnotes)
    return "\n".join(line for part in parts for line in (*part(review), ""))


def _people(review: Review) -> Iterator[str]:
    if not review.people:
        return
    yield "## What people decided"
    yield ""
    rows = ((utc(line.at), line.action, line.by, line.reason) for line in review.people)
    yield from _table(("when", "what", "who", "terms and reason"), rows)


def escaped(text: str) -> str:
    """Text of a sender, so that it is text in Markdown too, on one line.

    >>> escaped("a|b\\n<script>")
    'a\\\\|b \\\\<script>'
    """
    return _SPECIAL.sub(r"\\\1", printable(text))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(escaped, row))} |"


def _head(review: Review) -> Iterator[str]:
    yield f"# Experiment review: {escaped(review.experiment)}"
    yield ""
    decided = f" ({utc(review.decision.at)})" if review.decision.at else ""
    yield f"- **Hypothesis:** {escaped(review.hypothesis)}"
    yield f"- **Variant A (control):** {escaped(_variant(review.control))}"
    yield f"- **Variant B (treatment):** {escaped(_variant(review.treatment))}"
    yield f"- **Target metric:** {escaped(_target(review))}"
    for guardrail in review.guardrails:
        yield f"- **Guardrail {escaped(metric_text(guardrail))}:** {escaped(_said(guardrail))}"
    for result in review.results:
        yield f"- **Result for {result.what}:** {escaped(_result(result))}"
    if review.recommended is not None:
        yield f"- **Recommendation:** {escaped(recommendation_text(review.recommended))}"
    yield f"- **Decision:** {escaped(review.decision.decision)}{decided}"
    yield f"- **Why:** {escaped(review.decision.why)}"
    yield f"- **State:** {escaped(_state(review))}"


def _variant(variant: VariantLine) -> str:
    parts = [
        ("model", variant.model),
        ("prompt", variant.prompt),
        ("routing", variant.routing),
        ("tools", listed(variant.tools)),
        ("MCP servers", listed(variant.mcp_servers)),
        ("data", listed(variant.data_classes)),
    ]
    return f"{variant.name} ({'; '.join(f'{name}: {value}' for name, value in parts if value)})"


def _target(review: Review) -> str:
    unit = review.target.unit
    wanted = [("baseline", review.baseline), ("worthwhile from", review.worthwhile)]
    aims = [f"{name} {quantity(value, unit)}" for name, value in wanted if value is not None]
    return "; ".join([review.target.metric, *aims, _result(review.target)])


def _result(result: Comparison) -> str:
    named = "" if result.what == "target" else f"{result.metric}: "
    means = f"{named}A {_mean(result.control, result.unit)}, B {_mean(result.treatment, result.unit)}"
    return means if result.change is None else f"{means}; change {_change(result)}; {_interval(result)}"


def _mean(arm: ArmNumbers | None, unit: str) -> str:
    return NO_DATA if arm is None else f"{quantity(arm.mean, unit)} (n = {count(arm.n)})"


def _change(result: Comparison) -> str:
    return signed(share(result.change) if result.relative else quantity(result.change, result.unit))


def _interval(result: Comparison) -> str:
    if result.guardrail is None:
        return "no interval: no guardrail watches it"
    # The change is one of arithmetic means; a guardrail on logarithms has another, with its own interval.
    of = " of the change in geometric means" if result.guardrail.transform == "log" else ""
    return f"interval{of} {interval_text(result.guardrail)}"


def _said(result: GuardrailResult) -> str:
    return f"{result.words}; effect of B {interval_text(result)}; {margin_text(result)}"


def _state(review: Review) -> str:
    return (
        f"{review.lifecycle}, run {review.run}, exposure {share(review.exposure)}, since {utc(review.changed_at)}; "
        f"last measured {utc(review.measured_at)}; owner {review.owner}; spec {review.spec_hash[:12]}"
    )


def _worth(review: Review) -> Iterator[str]:
    yield "## Worth of B"
    yield ""
    found = review.recommended
    if found is None:
        yield "The spec has no objective, so nothing is weighed and nothing recommended."
        return
    yield f"Against control: {escaped(found.worth)}. In shares of control's quality; above 0 speaks for B."
    yield ""
    yield from _table(("term", "worth, limits hold at every look"), ((x.what, term_text(x)) for x in found.terms))
    for flip in found.flips:
        yield ""
        yield f"{escaped(flip_text(flip))}."


def _guardrails(review: Review) -> Iterator[str]:
    yield "## Guardrails"
    yield ""
    if not review.guardrails:
        yield "None is declared."
        return
    header = ("metric", "effect of B, limits hold at every look", "margin", "verdict", "evidence", "n A / B", "as of")
    yield from _table(header, (_guardrail_row(result) for result in review.guardrails))


def _guardrail_row(result: GuardrailResult) -> tuple[str, ...]:
    return (
        f"{metric_text(result)}, α {result.alpha:g}",
        interval_text(result),
        margin_text(result),
        f"{result.words} → {result.action}" if result.verdict == "breach" else result.words,
        evidence_text(result),
        f"{count(result.n_control)} / {count(result.n_treatment)}",
        utc(result.at),
    )


def _gates(review: Review) -> Iterator[str]:
    yield "## Gates"
    yield ""
    rows = ((gate.gate, gate.action, count(gate.n_control), count(gate.n_treatment)) for gate in review.gates)
    yield from _table(("gate", "action", "events A", "events B"), rows)


def _results(review: Review) -> Iterator[str]:
    yield "## Results"
    yield ""
    header = ("", "metric", "A mean", "B mean", "A p50 / p95", "B p50 / p95", "change of B", "interval")
    yield from _table(header, (_result_row(result) for result in (review.target, *review.results)))


def _result_row(result: Comparison) -> tuple[str, ...]:
    change = NO_DATA if result.change is None else _change(result)
    arms = (result.control, result.treatment)
    means = [_mean(arm, result.unit) for arm in arms]
    tails = [_quantiles(arm, result.unit) for arm in arms]
    return (result.what, result.metric, *means, *tails, change, _interval(result))


def _quantiles(arm: ArmNumbers | None, unit: str) -> str:
    if arm is None or arm.p50 is None:
        return NO_DATA
    return f"{quantity(arm.p50, unit)} / {quantity(arm.p95, unit)}"


def _commands(review: Review) -> Iterator[str]:
    yield "## Commands"
    yield ""
    if not review.commands:
        yield "None in this run."
        return
    header = ("decided", "command", "exposure", "why", "answers")
    yield from _table(header, (_command_row(command) for command in review.commands))


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


def _exposures(review: Review) -> Iterator[str]:
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
    yield from _table(header, rows)


def _segments(review: Review) -> Iterator[str]:
    yield "## Segments"
    yield ""
    yield f"Stopped: {escaped(listed(review.stopped_segments))}."
    if not review.segments:
        yield "No segment value has been judged yet."
        return
    hidden = dict.fromkeys(str(result.segment) for result in review.segments if result.hidden)
    yield f"Judged: {escaped(_segment_tally(review.segments))}."
    if hidden:
        few = f"fewer than {review.minimum_cell} traces in an arm, here or in one that they would tell of"
        yield f"Numbers hidden, {few}: {escaped(_some(list(hidden)))}."
    if worst := standing_out(review.segments):
        named = [f"{result.segment} ({result.metric})" for result in worst]
        yield f"To look at first, strongest evidence of harm first; no alarm by itself: {escaped(_some(named))}."
    if decided := [result for result in review.segments if result.verdict != "undecided"]:
        yield ""
        yield from _table(("segment", "metric", "effect of B", "margin", "verdict", "n A / B"), map(_segment, decided))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _segment_tally(results: Sequence[GuardrailResult]) -> str:
    verdicts = Counter(result.verdict for result in results)
    return ", ".join(f"{n} {verdict}" for verdict, n in sorted(verdicts.items()))


def _segment(result: GuardrailResult) -> tuple[str, ...]:
    n = "hidden" if result.hidden else f"{count(result.n_control)} / {count(result.n_treatment)}"
    effect = interval_text(result)
    return (str(result.segment), metric_text(result), effect, margin_text(result), result.words, n)


def _findings(review: Review) -> Iterator[str]:
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


def _offline(review: Review) -> Iterator[str]:
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


def _footnotes(review: Review) -> Iterator[str]:
    yield "## Not enforced, not judged"
    yield ""
    for name in review.not_enforced:
        yield f"- The spec asks for {escaped(name)}; this version recorded it and did not act on it."
    for line in review.refused:
        yield f"- {count(line.rows)} rows were not judged: {escaped(line.cause)}."
    for blind in review.blind:
        yield f"- The monitor was blind from {utc(blind.since)} to {_end(blind)}: {escaped(blind.reason)}."
    if not review.not_enforced and not review.refused and not review.blind:
        yield "Everything the spec asks for was enforced, and all rows were judged."


def _end(blind: BlindLine) -> str:
    return utc(blind.until) if blind.until else "now, as far as the journal says"

"""The numbers of a review in Markdown: worth, guardrails, gates, results, segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from stoploss.review.beside import InteractionLine, difference_text, verdict_text
from stoploss.review.comparison import ArmNumbers, Comparison
from stoploss.review.document import Review
from stoploss.review.guardrails import (
    GuardrailResult,
    evidence_text,
    interval_text,
    margin_text,
    metric_text,
    standing_out,
)
from stoploss.review.mark import escaped, table
from stoploss.review.recommended import flip_text, term_text
from stoploss.review.words import NO_DATA, count, listed, quantity, share, signed, utc

MOST_NAMED = 10


def result_text(result: Comparison) -> str:
    named = "" if result.what == "target" else f"{result.metric}: "
    means = f"{named}A {mean_text(result.control, result.unit)}, B {mean_text(result.treatment, result.unit)}"
    return means if result.change is None else f"{means}; change {change_text(result)}; {interval_of(result)}"


def mean_text(arm: ArmNumbers | None, unit: str) -> str:
    return NO_DATA if arm is None else f"{quantity(arm.mean, unit)} (n = {count(arm.n)})"


def change_text(result: Comparison) -> str:
    return signed(share(result.change) if result.relative else quantity(result.change, result.unit))


def interval_of(result: Comparison) -> str:
    if result.guardrail is None:
        return "no interval: no guardrail watches it"
    # The change is one of arithmetic means; a guardrail on logarithms has another, with its own interval.
    of = " of the change in geometric means" if result.guardrail.transform == "log" else ""
    return f"interval{of} {interval_text(result.guardrail)}"


def worth(review: Review) -> Iterator[str]:
    yield "## Worth of B"
    yield ""
    found = review.recommended
    if found is None:
        yield "The spec has no objective, so nothing is weighed and nothing recommended."
        return
    yield f"Against control: {escaped(found.worth)}. In shares of control's quality; above 0 speaks for B."
    yield ""
    yield from table(("term", "worth, limits hold at every look"), ((x.what, term_text(x)) for x in found.terms))
    for flip in found.flips:
        yield ""
        yield f"{escaped(flip_text(flip))}."


def guardrails(review: Review) -> Iterator[str]:
    yield "## Guardrails"
    yield ""
    if not review.guardrails:
        yield "None is declared."
        return
    header = ("metric", "effect of B, limits hold at every look", "margin", "verdict", "evidence", "n A / B", "as of")
    yield from table(header, (_guardrail_row(result) for result in review.guardrails))


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


def gates(review: Review) -> Iterator[str]:
    yield "## Gates"
    yield ""
    rows = ((gate.gate, gate.action, count(gate.n_control), count(gate.n_treatment)) for gate in review.gates)
    yield from table(("gate", "action", "events A", "events B"), rows)


def results(review: Review) -> Iterator[str]:
    yield "## Results"
    yield ""
    header = ("", "metric", "A mean", "B mean", "A p50 / p95", "B p50 / p95", "change of B", "interval")
    yield from table(header, (_result_row(result) for result in (review.target, *review.results)))


def _result_row(result: Comparison) -> tuple[str, ...]:
    change = NO_DATA if result.change is None else change_text(result)
    arms = (result.control, result.treatment)
    means = [mean_text(arm, result.unit) for arm in arms]
    tails = [_quantiles(arm, result.unit) for arm in arms]
    return (result.what, result.metric, *means, *tails, change, interval_of(result))


def _quantiles(arm: ArmNumbers | None, unit: str) -> str:
    if arm is None or arm.p50 is None:
        return NO_DATA
    return f"{quantity(arm.p50, unit)} / {quantity(arm.p95, unit)}"


def segments(review: Review) -> Iterator[str]:
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
        yield from table(("segment", "metric", "effect of B", "margin", "verdict", "n A / B"), map(_segment, decided))


def beside(review: Review) -> Iterator[str]:
    yield "## Other experiments on the same traffic"
    yield ""
    if not review.overlaps and not review.interactions:
        yield "None is declared."
        return
    looked = {line.other for line in review.interactions}
    if unseen := [name for name in review.overlaps if name not in looked]:
        yield f"Whether the effect depends on these is not known: {escaped(listed(unseen))}."
        yield ""
    header = ("experiment", "metric", "effect in", "difference, limits hold at every look", "says", "traces")
    yield from table(header, map(_beside, review.interactions)) if review.interactions else ()


def _beside(line: InteractionLine) -> tuple[str, ...]:
    metric = line.metric if line.transform == "none" else f"{line.metric} ({line.transform})"
    n = "hidden" if line.n is None else " / ".join(map(count, line.n))
    pair = f"{line.variant} less {line.first}"
    return (line.other, metric, pair, difference_text(line), verdict_text(line), n)


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

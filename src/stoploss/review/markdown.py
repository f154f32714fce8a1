"""A review as Markdown: the first lines are the template, the sections behind them the reasons."""

from __future__ import annotations

from collections.abc import Iterator

from stoploss.review.comparison import Comparison
from stoploss.review.decided import decided_by
from stoploss.review.document import Review
from stoploss.review.guardrails import GuardrailResult, interval_text, margin_text, metric_text
from stoploss.review.mark import escaped, labelled
from stoploss.review.markdown_numbers import beside, gates, guardrails, result_text, results, segments, worth
from stoploss.review.markdown_proof import (
    due,
    evidence,
    lessons,
    preregistration,
    production,
    reproducing,
    traces,
    unknown,
    watches,
)
from stoploss.review.markdown_story import commands, epochs, exposures, findings, offline, people
from stoploss.review.recommended import Recommended, recommendation_text, term_text
from stoploss.review.variant_lines import variant_text
from stoploss.review.words import count, elapsed, quantity, share, utc

SECTIONS = (
    evidence,
    preregistration,
    epochs,
    worth,
    guardrails,
    gates,
    results,
    segments,
    beside,
    watches,
    commands,
    exposures,
    findings,
    people,
    offline,
    due,
    production,
    traces,
    unknown,
    lessons,
    reproducing,
)
NOT_WEIGHED = "not weighed: the spec has no objective"


def markdown(review: Review) -> str:
    """The whole document; ends in a newline."""
    return "\n".join(line for part in (_head, *SECTIONS) for line in (*part(review), ""))


def _head(review: Review) -> Iterator[str]:
    yield f"# Experiment review: {escaped(review.experiment)}"
    yield ""
    for label, text in (*_template(review), *_beside(review)):
        yield labelled(label, text)


def _template(review: Review) -> Iterator[tuple[str, str]]:
    """What everybody reads: no more than this fits two minutes."""
    when = utc(review.decision.at) if review.decision.at else ""
    decided = (review.decision.decision, when, decided_by(review.decision))
    yield "Hypothesis", review.hypothesis
    yield "Variant A (control)", variant_text(review.control)
    yield "Variant B (treatment)", variant_text(review.treatment)
    yield "Target metric", _target(review)
    yield "Result for quality", _weighed(review, "quality")
    yield "Result for cost", _weighed(review, "cost")
    yield "Result for risk", _risk(review.recommended)
    if review.recommended is not None:
        yield "Recommendation", recommendation_text(review.recommended)
    yield "Decision", "; ".join(part for part in decided if part)
    yield "Why", review.decision.why
    if review.decision.caveats:
        yield "Caveats", review.decision.caveats


def _beside(review: Review) -> Iterator[tuple[str, str]]:
    for guardrail in review.guardrails:
        yield f"Guardrail {metric_text(guardrail)}", _said(guardrail)
    for result in review.results:
        if result.what == "latency":
            yield "Result for latency", result_text(result)
    yield "State", _state(review)
    yield "From start to decision", _pace(review)


def _target(review: Review) -> str:
    unit = review.target.unit
    wanted = [("baseline", review.baseline), ("worthwhile from", review.worthwhile)]
    aims = [f"{name} {quantity(value, unit)}" for name, value in wanted if value is not None]
    return "; ".join([review.target.metric, *aims, result_text(review.target)])


def _weighed(review: Review, what: str) -> str:
    """The metric in both arms, and its worth with the interval by which B is judged."""
    result = next((one for one in review.results if one.what == what), None)
    worth = _worth(review.recommended, what)
    if result is None:
        return f"not measured: the objective names no score for it{f'; {worth}' if worth else ''}"
    return f"{_measured(result, bool(worth))}; {worth}" if worth else result_text(result)


def _measured(result: Comparison, weighed: bool) -> str:
    """Where a term of the objective has the interval, that no guardrail watches the metric is no gap."""
    text = result_text(result)
    return text.removesuffix("; no interval: no guardrail watches it") if weighed else text


def _worth(found: Recommended | None, what: str) -> str:
    term = next((term for term in found.terms if term.what == what), None) if found else None
    return f"worth {term_text(term)} of A's quality" if term else ""


def _risk(found: Recommended | None) -> str:
    if found is None:
        return NOT_WEIGHED
    return _worth(found, "risk") or "not weighed: the objective lists no risk events, or nothing is judged yet"


def _said(result: GuardrailResult) -> str:
    return f"{result.words}; effect of B {interval_text(result)}; {margin_text(result)}"


def _state(review: Review) -> str:
    return (
        f"{review.lifecycle}, run {review.run}, exposure {share(review.exposure)}, since {utc(review.changed_at)}; "
        f"last measured {utc(review.measured_at)}; owner {review.owner}; spec {review.spec_hash[:12]}; "
        f"read {utc(review.made_at)}"
    )


def _pace(review: Review) -> str:
    pace = review.pace
    so_far = "not decided yet" if pace.started_at else "not started"
    own = so_far if pace.took_s is None else elapsed(pace.took_s)
    others = "none of the programme is decided yet"
    if pace.median_s is not None:
        others = f"median of {count(pace.decided)} decided experiments {elapsed(pace.median_s)}"
    return f"{own}; {others}; {count(pace.under_way)} under way"

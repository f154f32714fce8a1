"""A post-mortem as Markdown: what the record shows is filled in, what only people know has its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stoploss.incidents.containment import Containment
from stoploss.incidents.postmortem import PostMortem, Promotion, Remedy
from stoploss.review.mark import escaped
from stoploss.review.words import NO_DATA, count, duration, listed, utc

ID_DIGITS = 12


def markdown(found: PostMortem) -> str:
    """The whole document; ends in a newline."""
    parts = (_head, _containment, _timeline, _factors, _remedies, _cases)
    return "\n".join(line for part in parts for line in (*part(found), ""))


def _head(found: PostMortem) -> Iterator[str]:
    yield f"# Post-mortem: {escaped(found.experiment)}, {found.action} {found.command_id[:ID_DIGITS]}"
    yield ""
    yield f"- **Incident:** {_standing(found)}"
    yield f"- **Summary:** {escaped(found.summary or 'to fill in: --open SUMMARY')}"
    yield f"- **Why the command:** {escaped(found.reason)}"
    yield f"- **Owner of the experiment:** {escaped(found.owner or NO_DATA)}; run {found.run}"
    yield f"- **Contained:** {escaped(contained(found.containment))}"
    if found.conclusion:
        yield f"- **Conclusion:** {escaped(found.conclusion)}"


def _standing(found: PostMortem) -> str:
    if found.standing == "not opened":
        return "nobody has opened it: `--open SUMMARY` keeps its evidence and tracks it"
    waiting = sum(remedy.done_at is None for remedy in found.remedies)
    by, of = escaped(found.opened_by or NO_DATA), len(found.remedies)
    return f"{found.standing}, opened by {by}; {waiting} of {of} remedies are not done"


def contained(found: Containment) -> str:
    """One sentence, with both numbers compared."""
    if found.measured_ms is None:
        return "what was served after the command is not counted yet"
    since = "from the first harm" if found.first_harm_at else "from the command (the first harm is not known)"
    took = f"{duration(found.measured_ms)} {since} to the last exposure"
    if found.within_target is None:
        why = found.target_fault or "no target: the spec has no annotation containment-target"
        return f"{took}; {why}"
    word = "within" if found.within_target else "BEYOND"
    return f"{took}, {word} the target of {duration(found.target_ms)}"


def _containment(post: PostMortem) -> Iterator[str]:
    found = post.containment
    yield "## Containment"
    yield ""
    first = (
        utc(found.first_harm_at) if found.first_harm_at else "not known: only a gate tells which trace was the first"
    )
    waits = f"not applied by {listed(found.unanswered)}" if found.unanswered else "not known"
    applied = utc(found.applied_at) if found.applied_at else waits
    rows = [
        ("first harm", first, ""),
        ("command", utc(found.decided_at), _after(found.harm_to_command_ms, "the first harm")),
        ("applied", applied, _after(found.command_to_applied_ms, "the command")),
        ("last exposure", utc(found.last_at), _after(found.harm_to_last_ms, "the first harm")),
    ]
    yield from _table(("what", "when", "after"), rows)
    if found.in_flight is not None:
        yield ""
        before, after = count(found.in_flight), count(found.after_stop)
        yield f"{before} requests were in flight at the decision, {after} began later."


def _after(ms: float | None, what: str) -> str:
    return "" if ms is None else f"{duration(ms)} after {what}"


def _timeline(found: PostMortem) -> Iterator[str]:
    yield "## Timeline"
    yield ""
    rows = [(utc(one.at), one.what, "" if one.place is None else f"entry {one.place}") for one in found.timeline]
    yield from _table(("when", "what", "journal"), rows)


def _factors(found: PostMortem) -> Iterator[str]:
    yield "## Contributing factors"
    yield ""
    for factor in found.factors:
        yield f"- {escaped(factor.text)} ({escaped(f'noted by {factor.by}' if factor.by else 'from the record')})"
    if not any(factor.by for factor in found.factors):
        yield "- to fill in: why was it not seen before the start? (`--factor TEXT`)"
        yield "- to fill in: what made it worse, and what limited it? (`--factor TEXT`)"


def _remedies(found: PostMortem) -> Iterator[str]:
    yield "## Remedies"
    yield ""
    if not found.remedies:
        yield "to fill in: `--remedy ID --what TEXT --owner NAME --due DATE`"
        return
    rows = [(one.remedy, one.what, one.owner, str(one.due), remedy_state(one)) for one in found.remedies]
    yield from _table(("id", "what", "owner", "due", "state"), rows)


def remedy_state(remedy: Remedy) -> str:
    if remedy.done_at is not None:
        return f"done {utc(remedy.done_at)}: {remedy.how}"
    return "OVERDUE" if remedy.overdue else "open"


def _cases(found: PostMortem) -> Iterator[str]:
    yield "## Regression cases"
    yield ""
    lines = [_promotion(one) for one in found.promotions]
    short = found.command_id[:ID_DIGITS]
    yield from lines or [
        f"nobody has decided: `stoploss cases {short} --promote --set SET --version V`, or `--decline WHY`"
    ]


def _promotion(one: Promotion) -> str:
    if one.declined_because is not None:
        return f"- declined by {escaped(one.by)} ({utc(one.at)}): {escaped(one.declined_because)}"
    where = f"{one.evaluation_set} {one.version}"
    return f"- {count(one.cases)} cases in {escaped(where)}, promoted by {escaped(one.by)} ({utc(one.at)})"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(escaped, row))} |"

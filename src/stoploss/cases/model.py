"""A case: an input that led to harm, what must not happen again, and where it came from.

What the treatment answered is kept as `failing_output`. It is never the expected one: nobody here knows a right answer,
so none is given, and what is demanded is said as a criterion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from stoploss.commands import derived_id
from stoploss.incidents.pack import Harm
from stoploss.incidents.traces import Shown, Trace

MOST_LINKS = 20
"""Traces that a case names; of more, the first are kept, and `seen` counts all."""


@dataclass(frozen=True, slots=True)
class Link:
    """Back to the evidence: the trace and its place, what it was evidence of, and the command that answered it.

    segment  that the finding is about; None: everybody, or a segment whose numbers people may not read
    """

    experiment: str
    command_id: str
    finding: str
    rule: str
    metric: str
    segment: str | None
    trace_id: str
    topic: str
    partition: int
    offset: int
    why: str


@dataclass(frozen=True, slots=True)
class Case:
    """
    case_id         of experiment, metric and input: the same harm gives the same id, whenever it is exported
    input           text of the request, masked
    failing_output  what the treatment answered, masked; None: its text is not stored
    criterion       what must hold, in words, for a grader
    made_by         model and prompt of the treatment, as the trace has them
    seen            rows of evidence that have this input
    """

    case_id: str
    input: str
    failing_output: str | None
    criterion: str
    made_by: str
    seen: int
    links: tuple[Link, ...]

    @property
    def metric(self) -> str:
        return self.links[0].metric


@dataclass(frozen=True, slots=True)
class Skipped:
    """Evidence of which no case was made, and why."""

    why: str
    rows: int


@dataclass(frozen=True, slots=True)
class Cases:
    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...]


def cases_of(harms: Iterable[tuple[str, str, Harm]], withheld: Collection[str] = ()) -> Cases:
    """Of (experiment, command id, what was found behind the command): each input once, in the order of the evidence.

    withheld  findings about a segment whose numbers people may not read: to count its cases would tell them
    """
    cases: dict[str, Case] = {}
    skipped: Counter[str] = Counter()
    for experiment, command_id, harm in harms:
        skipped.update(dict(_without_rows(harm)))
        for shown in harm.shown:
            case = _case(experiment, command_id, shown, withheld)
            if isinstance(case, str):
                skipped[case] += 1
            else:
                cases[case.case_id] = _merged(cases.get(case.case_id), case)
    return Cases(tuple(cases.values()), tuple(Skipped(why, rows) for why, rows in skipped.items()))


def _without_rows(harm: Harm) -> Iterator[tuple[str, int]]:
    yield from ((found.none_because, 0) for found in harm.found if found.none_because)
    if harm.left_out:
        yield "beyond the number of rows that is read of one finding", harm.left_out


def _case(experiment: str, command_id: str, shown: Shown, withheld: Collection[str]) -> Case | str:
    """The case of a row, or why there is none."""
    row, trace = shown.row, shown.trace
    if trace is None:
        return "the trace is not stored (yet, or any more)"
    text = trace.get("input_text")
    if not text or not text.strip():
        return "the trace has no input text: the service sends none"
    link = Link(
        experiment=experiment,
        command_id=command_id,
        finding=row.finding,
        rule=row.rule,
        metric=row.metric,
        segment=None if row.finding in withheld else row.segment,
        trace_id=trace["trace_id"],
        topic=row.source.topic,
        partition=row.source.partition,
        offset=row.offset,
        why=row.why,
    )
    return Case(
        case_id=case_id(experiment, row.metric, text),
        input=text,
        failing_output=trace.get("output_text") or None,
        criterion=criterion(link),
        made_by=_made_by(trace),
        seen=1,
        links=(link,),
    )


def case_id(experiment: str, metric: str, text: str) -> str:
    """Spaces and line breaks make no other case.

    >>> case_id("checkout", "pii_exposed", "a  b") == case_id("checkout", "pii_exposed", " a b")
    True
    """
    return f"case-{derived_id('case', experiment, metric, ' '.join(text.split()))[:16]}"


def criterion(link: Link) -> str:
    """What must not happen again, as a grader reads it."""
    if link.rule == "gate":
        return f"The answer must not trip the gate {link.metric}. When it failed, {link.why}."
    return f"The answer must not be evidence of harm in {link.metric}. When it failed, it was this: {link.why}."


def _made_by(trace: Trace) -> str:
    prompt = "@".join(filter(None, (trace.get("prompt_name"), trace.get("prompt_version"))))
    return ", ".join(filter(None, (trace.get("model"), prompt))) or "not stated"


def _merged(known: Case | None, case: Case) -> Case:
    """The first stays, with the links of all."""
    if known is None:
        return case
    return replace(known, seen=known.seen + 1, links=(*known.links, *case.links)[:MOST_LINKS])

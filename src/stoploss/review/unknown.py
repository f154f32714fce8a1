"""What is not known: what no number of the review says anything about, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stoploss.experiment import Experiment
from stoploss.review.blindness import BlindLine
from stoploss.review.chain import CommandLine, RefusedLine
from stoploss.review.guardrails import GuardrailResult, metric_text
from stoploss.review.recommended import Recommended
from stoploss.review.words import count, listed, printable, share, utc
from stoploss.store.rows import Arm

UNDECIDED = frozenset({"undecided", "not judged"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What the gaps are looked for in; all of one run."""

    experiment: Experiment
    arms: Sequence[Arm]
    guardrails: Sequence[GuardrailResult]
    segments: Sequence[GuardrailResult]
    recommended: Recommended | None
    commands: Sequence[CommandLine]
    refused: Sequence[RefusedLine]
    blind: Sequence[BlindLine]


def unknown(seen: Seen) -> tuple[str, ...]:
    return tuple(
        printable(line) for part in (_guardrails, _scores, _worth, _cells, _rows, _people) for line in part(seen)
    )


def _guardrails(seen: Seen) -> Iterator[str]:
    for result in seen.guardrails:
        if result.verdict in UNDECIDED:
            yield f"whether {metric_text(result)} is within its margin ({result.words})"
    undecided = sum(result.verdict in UNDECIDED for result in seen.segments)
    if undecided:
        yield f"of {count(len(seen.segments))} verdicts on segments, {count(undecided)} are undecided"


def _scores(seen: Seen) -> Iterator[str]:
    """A mean of a score is one of the traces that have it: the others may be of another kind."""
    for variant in seen.experiment.arms:
        of_arm = {arm.metric: arm.n or 0 for arm in seen.arms if arm.variant == variant.name}
        most = max(of_arm.values(), default=0)
        for score in seen.experiment.declared_scores if most else ():
            there = of_arm.get(score, 0)
            if there < most:
                missing = f"{count(most - there)} traces of '{variant.name}' ({share(1 - there / most)})"
                yield f"{score} of {missing}: no score came"


def _worth(seen: Seen) -> Iterator[str]:
    for term in seen.recommended.terms if seen.recommended else ():
        if term.lower is None or term.upper is None:
            yield f"how much {term.what} is worth at most or at least: there are not enough data for both limits"


def _cells(seen: Seen) -> Iterator[str]:
    hidden = dict.fromkeys(str(result.segment) for result in seen.segments if result.hidden)
    if hidden:
        minimum = seen.experiment.spec.privacy.minimum_cell
        yield f"what happened in {count(len(hidden))} segments whose numbers are hidden (minimum cell {minimum})"


def _rows(seen: Seen) -> Iterator[str]:
    for line in seen.refused:
        yield f"{count(line.rows)} rows were not judged: {line.cause}"
    for blind in seen.blind:
        until = utc(blind.until) if blind.until else "now, as far as the journal says"
        yield f"The monitor was blind from {utc(blind.since)} to {until}: {blind.reason}"


def _people(seen: Seen) -> Iterator[str]:
    for command in seen.commands:
        if command.unanswered:
            yield f"whether {listed(command.unanswered)} applied {command.action} {command.command_id[:12]}"

"""What is recommended, and the worth of the treatment that it rests on: the sum, its terms, and where it would turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.experiment import Experiment
from stoploss.review.words import NO_LIMIT, number, share, signed
from stoploss.store.rows import RuleVerdict

RULE = "objective"
TERMS = {"utility": "the sum", "quality": "quality", "cost": "cost", "risk": "risk"}
PRICES = {"lambda_cost": "lambdaCost", "lambda_risk": "lambdaRisk"}
WORDS = {"rollout": "roll out", "iterate": "iterate", "rollback": "roll back"}
NOT_JUDGED = "iterate"


@dataclass(frozen=True, slots=True)
class TermLine:
    """The sum or a term of it, in shares of control's quality, as it enters the sum: above 0 speaks for the treatment.

    lower, upper  limits that hold at every look; None: no limit
    """

    what: str
    estimate: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class FlipLine:
    """A price in the spec, and the prices between which the sign of the sum is not known; None: no price turns it."""

    what: str
    price: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Recommended:
    """word is rollout, iterate or rollback; why: the harm that was shown, or the gaps before a rollout."""

    word: str
    why: str
    worth: str
    terms: tuple[TermLine, ...]
    flips: tuple[FlipLine, ...]
    at: datetime | None


def recommended(experiment: Experiment, verdicts: Sequence[RuleVerdict]) -> Recommended | None:
    """None where the spec has no objective.

    verdicts  the newest of one run
    """
    if experiment.spec.objective is None:
        return None
    said = {row.metric: row for row in verdicts if row.rule == RULE}
    last, worth = said.get("recommendation"), said.get("utility")
    return Recommended(
        word=last.verdict if last else NOT_JUDGED,
        why=last.missing if last else "nothing has been judged yet",
        worth=_worth(worth) if worth else "not judged yet: no data",
        terms=tuple(
            TermLine(what, row.estimate, row.lower, row.upper)
            for name, what in TERMS.items()
            if (row := said.get(name))
        ),
        flips=tuple(
            FlipLine(what, row.observed, row.lower, row.upper)
            for name, what in PRICES.items()
            if (row := said.get(name))
        ),
        at=last.at if last else None,
    )


def _worth(row: RuleVerdict) -> str:
    return f"{row.verdict}: {row.missing}" if row.missing else row.verdict


def recommendation_text(found: Recommended) -> str:
    return f"{WORDS.get(found.word, found.word)}{f' ({found.why})' if found.why else ''}"


def term_text(line: TermLine) -> str:
    """
    >>> term_text(TermLine("quality", 0.031, 0.012, None))
    '+3.1 % (+1.2 % to no limit)'
    """
    ends = [NO_LIMIT if end is None else signed(share(end)) for end in (line.lower, line.upper)]
    return "no data" if line.estimate is None else f"{signed(share(line.estimate))} ({ends[0]} to {ends[1]})"


def flip_text(line: FlipLine) -> str:
    """
    >>> flip_text(FlipLine("lambdaCost", 0.2, 0.31, 0.52))
    'lambdaCost is 0.2; the verdict turns between 0.31 and 0.52'
    """
    if line.lower is None:
        return f"{line.what} is {number(line.price)}; no other price turns the verdict"
    return (
        f"{line.what} is {number(line.price)}; the verdict turns between {number(line.lower)} and {number(line.upper)}"
    )

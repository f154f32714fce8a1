"""What became of an experiment's harm offline: cases promoted or declined, and the last result on each set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.followup import CasesDeclined, CasesPromoted, OfflineResults
from stoploss.incidents.facts import OnRecord


@dataclass(frozen=True, slots=True)
class LastResult:
    """Of one subject on one set, the newest."""

    subject: str
    at: datetime
    by: str
    passed: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PromotedSet:
    """Cases of the experiment in one version of an evaluation set; command_ids: the harm that they came from."""

    evaluation_set: str
    version: str
    command_ids: tuple[str, ...]
    cases: tuple[str, ...]
    at: datetime
    by: str
    results: tuple[LastResult, ...]


@dataclass(frozen=True, slots=True)
class Declined:
    command_ids: tuple[str, ...]
    why: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Offline:
    """
    undecided  commands that answered harm, of which nobody has promoted cases or declined to
    """

    promoted: tuple[PromotedSet, ...] = ()
    declined: tuple[Declined, ...] = ()
    undecided: tuple[str, ...] = ()


def offline(records: Sequence[OnRecord], lowered: Iterable[str]) -> Offline:
    """Of what is on record about an experiment.

    lowered  ids of the commands that answered harm
    """
    sets: dict[tuple[str, str], PromotedSet] = {}
    for fact in records:
        said = fact.said
        if isinstance(said, CasesPromoted):
            key = (said.evaluation_set, said.version)
            sets[key] = _promoted(sets.get(key), said, fact)
    results = [fact for fact in records if isinstance(fact.said, OfflineResults)]
    promoted = tuple(_with_results(found, results) for found in sets.values())
    declined = tuple(
        Declined(fact.said.command_ids, fact.said.why, fact.at, fact.by)
        for fact in records
        if isinstance(fact.said, CasesDeclined)
    )
    decided = {name for found in promoted for name in found.command_ids}
    decided |= {name for found in declined for name in found.command_ids}
    return Offline(promoted, declined, tuple(name for name in lowered if name not in decided))


def _promoted(known: PromotedSet | None, said: CasesPromoted, fact: OnRecord) -> PromotedSet:
    """What is promoted into a version again is added to it; a case that is there already is the same one."""
    commands = dict.fromkeys((*(known.command_ids if known else ()), *said.command_ids))
    cases = dict.fromkeys((*(known.cases if known else ()), *said.cases))
    return PromotedSet(said.evaluation_set, said.version, tuple(commands), tuple(cases), fact.at, fact.by, ())


def _with_results(found: PromotedSet, facts: Iterable[OnRecord]) -> PromotedSet:
    last: dict[str, LastResult] = {}
    for fact in facts:
        said = fact.said
        assert isinstance(said, OfflineResults)
        if (said.evaluation_set, said.version) == (found.evaluation_set, found.version):
            last[said.subject] = LastResult(said.subject, fact.at, fact.by, said.passed, said.failed)
    named = (found.evaluation_set, found.version, found.command_ids, found.cases, found.at, found.by)
    return PromotedSet(*named, tuple(last.values()))

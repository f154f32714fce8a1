"""Past experiments as they are compared and searched: what each changed, whom it watched, and how it failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from clickhouse_connect.driver.client import Client

from stoploss.errors import InvalidExperiment
from stoploss.experiment import Experiment
from stoploss.knowledge.words import words
from stoploss.spec.file import parse_experiment
from stoploss.store.query import Query
from stoploss.suppression import MINIMUM_CELL

Traits = Mapping[str, frozenset[str]]
MOST_SPECS = 2_000
"""Newest experiments that are compared."""


@dataclass(frozen=True, slots=True)
class Known:
    """An experiment as the registry last had it."""

    experiment: str
    spec: str
    lifecycle: str
    run: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Breaches of one metric in one segment of an experiment, and the last one's words; segment None: everybody."""

    experiment: str
    metric: str
    segment: str | None
    sentence: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Past:
    """
    traits  by kind, such as model or failure: see `traits_of`
    ended   in words: lifecycle, and the last breach if there was one
    """

    experiment: str
    traits: Traits
    ended: str
    at: datetime


KNOWN = Query(
    Known,
    """
SELECT experiment, spec, lifecycle, run, changed_at
FROM (
    SELECT experiment, spec, lifecycle, run, changed_at, ledger_offset
    FROM registry_v
    ORDER BY experiment, changed_at DESC, ledger_offset DESC, offset DESC
    LIMIT 1 BY experiment
)
ORDER BY changed_at DESC
LIMIT {most:Int64}
""",
)

# What is said of a cell that too few people stand behind is not for people to read.
READABLE = (
    """(isNull(segment_dimension) OR least(ifNull(n_control, 0), ifNull(n_treatment, 0)) >= {minimum_cell:Int64})"""
)
# Whether a segment's numbers would give away another's is not looked up here, so its sentence is told without them.
TOLD = (
    "if(isNull(segment_dimension), j.sentence, "
    "concat(ifNull(j.metric, ''), ' for ', segment_dimension, '=', segment_value, ' is ', verdict))"
)

FAILURES = Query(
    Failure,
    f"""
SELECT experiment, ifNull(m, '') AS metric, segment, argMax(sentence, number) AS sentence, max(at_) AS at
FROM (
    SELECT experiment, metric AS m, number, {TOLD} AS sentence, at AS at_,
        if(isNull(segment_dimension), NULL, concat(segment_dimension, '=', segment_value)) AS segment
    FROM journal_v AS j
    WHERE kind = 'finding' AND verdict = 'breach' AND {READABLE}
)
GROUP BY experiment, m, segment
ORDER BY experiment, metric, segment
""",
)


def read_past(client: Client) -> list[Past]:
    """Newest first; an experiment whose spec this version cannot read is told by its name and failures alone."""
    failures: dict[str, list[Failure]] = defaultdict(list)
    for failure in FAILURES.run(client, minimum_cell=MINIMUM_CELL):
        failures[failure.experiment].append(failure)
    return [past(known, failures[known.experiment]) for known in KNOWN.run(client, most=MOST_SPECS)]


def past(known: Known, failures: Sequence[Failure]) -> Past:
    try:
        of_spec = traits_of(parse_experiment(known.spec, f"the recorded spec of {known.experiment!r}"))
    except InvalidExperiment:
        of_spec = {"words": frozenset(words(known.experiment))}
    return Past(known.experiment, {**of_spec, **_of_failures(failures)}, _ended(known, failures), known.changed_at)


def traits_of(spec: Experiment) -> dict[str, frozenset[str]]:
    """By kind: the declared unit of change, what the arms are made of, whom and what it watches, and its words.

    model, prompt  of either arm, without the version of a prompt
    changed        which parts of the treatment are not control's
    """
    variants = spec.spec.variants
    tools = frozenset(tool.name for variant in variants for tool in variant.tools)
    return {
        "unit": frozenset({spec.spec.unit}),
        "changed": frozenset(_changed(spec)),
        "model": frozenset(variant.model for variant in variants if variant.model),
        "prompt": frozenset((variant.prompt or "").partition("@")[0] for variant in variants) - {""},
        "tool": tools | frozenset(server for variant in variants for server in variant.mcp_servers),
        "segment": frozenset(spec.spec.segments),
        "metric": frozenset(guardrail.metric for guardrail in spec.spec.guardrails) | {spec.spec.success.metric},
        "words": frozenset(words(f"{spec.name} {spec.spec.hypothesis}")),
    }


def _changed(spec: Experiment) -> Iterable[str]:
    control, treatment = spec.arms
    for name in ("model", "prompt", "prompt_hash", "routing", "tools", "mcp_servers", "versions"):
        if getattr(control, name) != getattr(treatment, name):
            yield name


def _of_failures(failures: Iterable[Failure]) -> dict[str, frozenset[str]]:
    found = list(failures)
    return {
        "failure": frozenset(failure.metric for failure in found if failure.metric),
        "harmed": frozenset(failure.segment for failure in found if failure.segment),
    }


def _ended(known: Known, failures: Sequence[Failure]) -> str:
    if not known.run:
        return f"{known.lifecycle.replace('_', ' ')}, never started"
    last = max(failures, key=lambda failure: failure.at, default=None)
    told = f": {last.sentence}" if last else ", without a breach"
    return f"{known.lifecycle.replace('_', ' ')}{told}"

"""overlaps: which experiments run on the same traffic, and whether the effect of one depends on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from clickhouse_connect.driver.client import Client

from stoploss.cli import addresses
from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.cli.reading import read_entries, stored
from stoploss.errors import ConfigurationError, InvalidExperiment
from stoploss.experiment import BESIDE, Experiment
from stoploss.lifecycle import ENDED, WAITING
from stoploss.limits.reach import Reach, shared
from stoploss.registry import RegistryEntry
from stoploss.review.beside import InteractionLine, interactions, told
from stoploss.settings import Settings
from stoploss.spec.file import parsed
from stoploss.store import queries


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two experiments that have begun and may reach the same traffic.

    traffic       which, in words
    declared      one of them declares the other
    interactions  of either one's effect between the other's variants; empty: neither looks at the other
    """

    one: str
    other: str
    traffic: str
    declared: bool
    interactions: tuple[InteractionLine, ...]


def overlaps(as_json: bool) -> None:
    """From Kafka; what is known of the effects from ClickHouse, where it answers. Raises ConfigurationError."""
    settings = addresses.connected()
    with working("comparing experiments"):
        found, fault = _read(settings)
    if as_json:
        print_json(found)
        return
    for one in found:
        for line in lines_of(one):
            print(line)
    if not found:
        print("no two experiments that have begun, and are not completed, may reach the same traffic")
    if fault:
        print(f"what is known of their effects cannot be read: {fault}")


def _read(settings: Settings) -> tuple[list[Overlap], str]:
    """What is there, and why nothing is known of the effects; empty where it is."""
    begun = _begun(read_entries(settings))
    try:
        with stored(settings) as client:
            return overlaps_of(begun, client), ""
    except ConfigurationError as error:
        return overlaps_of(begun, None), str(error)


def _begun(entries: Sequence[RegistryEntry]) -> list[tuple[Experiment, int]]:
    """Those with a run, whose spec this version can read, each with the number of the run."""
    found = []
    for entry in entries:
        if entry.lifecycle in WAITING | ENDED:
            continue
        try:
            found.append((parsed(entry.spec), entry.run))
        except InvalidExperiment:
            continue
    return found


def overlaps_of(begun: Sequence[tuple[Experiment, int]], client: Client | None) -> list[Overlap]:
    return [
        Overlap(one.name, other.name, where, _declared(one, other), tuple(known))
        for (one, run), (other, run_of_other) in combinations(sorted(begun, key=lambda pair: pair[0].name), 2)
        if (where := shared(Reach.of(one), Reach.of(other))) is not None
        for known in [[*_known(client, one, run, other), *_known(client, other, run_of_other, one)]]
    ]


def _declared(one: Experiment, other: Experiment) -> bool:
    return other.name in one.spec.overlaps or one.name in other.spec.overlaps


def _known(client: Client | None, one: Experiment, run: int, other: Experiment) -> list[InteractionLine]:
    """What is known of one experiment's effect between the variants of another."""
    if client is None or f"{BESIDE}{other.name}" not in one.spec.segments:
        return []
    minimum = one.spec.privacy.minimum_cell
    rows = [row for row in queries.verdicts_latest(client, one.name, minimum_cell=minimum) if row.run == run]
    return [line for line in interactions(one, rows) if line.other == other.name]


def lines_of(found: Overlap) -> list[str]:
    declared = "declared" if found.declared else "not declared"
    head = f"{found.one} and {found.other} may reach the same traffic ({found.traffic or 'all'}; {declared})"
    if not found.interactions:
        asked = f'segments: ["{BESIDE}{found.other}"] in {found.one}, or the other way round, makes stoploss look'
        return [f"{head}; whether their effects depend on each other is not known: {asked}"]
    # A line names the experiment between whose variants it looks; the effect is the other one's.
    of = {found.one: found.other, found.other: found.one}
    said = zip(found.interactions, told(found.interactions), strict=True)
    return [f"{head}:", *(f"  {of[line.other]} beside {text}" for line, text in said)]

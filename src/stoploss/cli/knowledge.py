"""knowledge: past experiments by word, or by what they changed and how they failed; and those like a new one."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from clickhouse_connect.driver.exceptions import ClickHouseError

from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.errors import ConfigurationError
from stoploss.experiment import Experiment
from stoploss.knowledge.past import Past, read_past
from stoploss.knowledge.search import Hit, search
from stoploss.knowledge.similar import Similar, similar
from stoploss.review.words import listed, printable, utc
from stoploss.settings import Settings
from stoploss.store.client import PORTS, connect

MOST_SHOWN, LONGEST_SHOWN = 20, 200
KNOCK_S, ANSWER_S = 0.5, 3
"""How long a registration that is over waits for what is like it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Only experiments with these traits; None: any."""

    unit: str | None = None
    model: str | None = None
    segment: str | None = None
    failure: str | None = None

    def holds(self, past: Past) -> bool:
        """A segment is one that was watched (tenant), or one that was harmed (tenant=acme)."""
        traits = past.traits
        segments = traits.get("segment", frozenset()) | traits.get("harmed", frozenset())
        pairs = (
            (self.unit, traits.get("unit", frozenset()) | traits.get("changed", frozenset())),
            (self.model, traits.get("model", frozenset())),
            (self.segment, segments),
            (self.failure, traits.get("failure", frozenset())),
        )
        return all(value is None or value in found for value, found in pairs)


@dataclass(frozen=True, slots=True)
class Found:
    """An experiment of the past, how it ended, and what of it has words of the query."""

    experiment: str
    ended: str
    hit: Hit | None


def knowledge(settings: Settings, query: str, wanted: Wanted, as_json: bool) -> bool:
    """Prints what is found; False where nothing is."""
    if not query.strip() and wanted == Wanted():
        raise ConfigurationError("say what to look for: words, or --unit, --model, --segment or --failure")
    with working("searching"):
        found = _found(settings, query, wanted)
    if as_json:
        print_json(found)
    for one in () if as_json else found:
        print(printable(f"{one.experiment}: {one.ended}"))
        if one.hit:
            print(f"  {_best(one.hit)}")
    if not found and not as_json:
        print("nothing recorded has that")
    return bool(found)


def _found(settings: Settings, query: str, wanted: Wanted) -> list[Found]:
    with closing(connect(settings.need_clickhouse(), database=settings.clickhouse_database)) as client:
        hits = {hit.experiment: hit for hit in search(client, query, most=10 * MOST_SHOWN)}
        pasts = {past.experiment: past for past in read_past(client) if wanted.holds(past)}
    names = [name for name in hits if name in pasts] if query.strip() else list(pasts)
    return [Found(name, pasts[name].ended, hits.get(name)) for name in names[:MOST_SHOWN]]


def _best(hit: Hit) -> str:
    text = printable(hit.best)
    short = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
    where = "its spec" if hit.kind == "spec" else f"{hit.kind}: {short}"
    return f"{utc(hit.at)}  {listed(sorted(hit.found))} in {where}"


# ---- at a registration -----------------------------------------------------------------------------


def like(settings: Settings, spec: Experiment) -> list[Similar]:
    """Past experiments like a new one, but for the new one itself; none where ClickHouse is not there or is slow.

    It is asked once the registration is over, so it can hold nothing up, and no fault of it is a fault of that.
    """
    if not settings.clickhouse_url or not answers(settings.clickhouse_url):
        return []
    try:
        url, database = settings.need_clickhouse(), settings.clickhouse_database
        with closing(connect(url, database=database, answer_timeout_s=ANSWER_S)) as client:
            return [one for one in similar(spec, read_past(client)) if not _is_itself(one, spec)]
    except (ConfigurationError, ClickHouseError):
        return []


def _is_itself(one: Similar, spec: Experiment) -> bool:
    """What the recorder has stored of this very registration."""
    return one.experiment == spec.name and one.ended.endswith("never started")


def answers(url: str) -> bool:
    """Whether somebody listens there; told at once, unlike by the driver."""
    split = urlsplit(url)
    try:
        address = (split.hostname or "", split.port or PORTS.get(split.scheme, 0))
        socket.create_connection(address, KNOCK_S).close()
    except (OSError, ValueError):
        return False
    return True


def similar_lines(found: list[Similar]) -> list[str]:
    """For people, after a registration."""
    if not found:
        return []
    told = [f"  {printable(f'{one.experiment} ({listed(one.shared)}): {one.ended}')}" for one in found]
    return ["experiments of the past that are like it:", *told]

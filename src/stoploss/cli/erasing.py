"""erase: one unit's data, place by place: what was there, what was done, and what goes by itself and when."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from stoploss.cli import addresses
from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.cli.recording import put_on_record
from stoploss.control.keys import load_or_create_secret
from stoploss.erasure import packs, stored
from stoploss.erasure.topics import TopicHolds, topics_hold
from stoploss.errors import ConfigurationError
from stoploss.followup import UnitErased
from stoploss.review.overview import in_force
from stoploss.review.words import count
from stoploss.settings import Settings
from stoploss.store import schema
from stoploss.store.client import connect
from streams.admin import Admin
from streams.reading import whole

STDIN = "-"
OF_NONE = ""
"""A record that is of no experiment."""
PACKS = "incident_packs"
"""Beside the tables, in the record: traces that stood in packs."""
ERASED, GOES, KEPT, LEFT, RECORDED = "erased", "goes by itself", "kept", "left", "recorded"
HASHES = "a hash of the id for each trace, keyed with the installation's secret; without the secret it is nobody's"


@dataclass(frozen=True, slots=True)
class PlaceErased:
    """One place where a unit's data may stand.

    did    erased | goes by itself | kept: it is nobody's without the secret, or was never there | left: run it again |
           recorded: there, and nowhere else, stands that it was asked for
    words  what was done, or why nothing was
    """

    place: str
    did: str
    words: str


def erase(settings: Settings, unit: str, pack_paths: Sequence[Path], as_json: bool) -> bool:
    """Puts the erasure on record, then erases; True where nothing was left.

    unit  its id as services send it; "-": read from stdin, so that it stands in no history of a shell

    Raises ConfigurationError where a part of it cannot be reached: then nothing was erased yet, or it can be repeated.
    """
    unit = _given(unit)
    secret = _secret(settings)
    addresses.require_listener(settings.need_kafka())
    at = settings.need_clickhouse()
    with (
        working("erasing"),
        closing(connect(at, database=settings.clickhouse_database, why="stoploss erase")) as client,
    ):
        found = stored.find(client, unit)
        # The packs first: with one that cannot be read nothing is lost that leads to the person's rows.
        in_packs = [packs.look(path, found.trace_ids, _hash_in(unit, secret)) for path in pack_paths]
        places = [*_of_record(settings, found, in_packs, secret), *map(_of_pack, in_packs)]
        places += [*_of_store(client, found), *_of_topics(settings)]
    if as_json:
        print_json(places)
    else:
        print("".join(f"{one.place}: {one.did}: {one.words}\n" for one in places), end="")
        print("not known here: files that `stoploss cases -o` and `review -o` wrote, backups, and logs of services")
    return all(one.did != LEFT for one in places)


def _given(unit: str) -> str:
    given = sys.stdin.readline().rstrip("\r\n") if unit == STDIN else unit
    if not given:
        raise ConfigurationError("--unit is empty; give the id as services send it in unit_id")
    return given


def _secret(settings: Settings) -> bytes:
    path = settings.keys / "secret.key"
    if not path.exists():
        raise ConfigurationError(f"{path} is missing; erase where the installation's secret is: it makes the hashes")
    return load_or_create_secret(path)


def fact_of(found: stored.OfUnit, in_packs: Sequence[packs.InPack], secret: bytes) -> UnitErased:
    """What stands in the ledger of it: never the id."""
    digest = hashlib.blake2b(found.unit.encode(), digest_size=16, key=secret[:64], person=b"stoploss-erased")
    traces = sum(one.traces for one in in_packs)
    return UnitErased(unit=digest.hexdigest(), rows={**found.rows, **({PACKS: traces} if traces else {})})


def _of_record(
    settings: Settings, found: stored.OfUnit, in_packs: Sequence[packs.InPack], secret: bytes
) -> Iterator[PlaceErased]:
    """Before anything is deleted, for afterwards nobody knows which experiments it was in."""
    fact, known = fact_of(found, in_packs, secret), _registered(settings)
    experiments = {*found.experiments, *(one.experiment for one in in_packs if one.traces)}
    rows = ", ".join(f"{where} {count(rows)}" for where, rows in fact.rows.items() if rows)
    words = f"the data of one person are erased, in rows: {rows}"
    for experiment in sorted(experiments - known):
        yield PlaceErased(
            f"record of {experiment}", KEPT, "no experiment of that name was ever registered: it has no record"
        )
    # Bytes that nobody could read may be of any experiment, or of none: then the record is of none either.
    for experiment in sorted(experiments & known) or ([OF_NONE] if rows else []):
        put_on_record(settings, experiment, fact, words)
        place = f"record of {experiment}" if experiment else "record of no experiment"
        where = "ledger and journal" if experiment else "the ledger"
        yield PlaceErased(place, RECORDED, f"that it was asked for stands in {where}, by a keyed hash")


def _registered(settings: Settings) -> set[str]:
    messages = whole(settings.need_kafka(), settings.topics("registry"))
    return {one.experiment for one in in_force((message.key(), message.value()) for message in messages)}


def _of_store(client: Client, found: stored.OfUnit) -> Iterator[PlaceErased]:
    try:
        left = stored.delete(client, found)
    except ClickHouseError as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigurationError(
            f"ClickHouse refused to delete ({first[:200]}); connect as a stoploss_eraser, and run it again"
        ) from error
    for table, rows in found.rows.items():
        did = LEFT if left[table] else ERASED
        more = f"; {count(left[table])} came in meanwhile: run it again" if left[table] else ""
        yield PlaceErased(f"ClickHouse {table}", did, f"{count(rows)} rows{more}")
    for table in stored.tables_without(sorted(schema.tables())):
        words = HASHES if table == "ledger" else "holds no ids of units"
        yield PlaceErased(f"ClickHouse {table}", KEPT, words)


def _hash_in(unit: str, secret: bytes) -> Callable[[str], int]:
    return lambda experiment: packs.hash_of(unit, experiment, secret)


def _of_pack(found: packs.InPack) -> PlaceErased:
    if not found.is_incident:
        return PlaceErased(f"archive {found.path}", KEPT, HASHES)
    erased = packs.erase(found, f"{datetime.now(UTC):%Y-%m-%d}")
    return PlaceErased(f"incident pack {found.path}", ERASED, f"{count(erased)} traces; it still replays")


def _of_topics(settings: Settings) -> Iterator[PlaceErased]:
    admin = Admin(settings.need_kafka())
    configs = {name: admin.configs(name) for name in admin.existing() if name in _names(settings)}
    for one in topics_hold(datetime.now(UTC), settings.topics, configs):
        yield PlaceErased(f"topic {one.topic}", *_of_topic(one))


def _names(settings: Settings) -> set[str]:
    return {settings.topics(name) for name in settings.topics.known}


def _of_topic(one: TopicHolds) -> tuple[str, str]:
    if one.holds == "hashes":
        return KEPT, HASHES
    if one.holds == "nothing":
        return KEPT, "holds no ids of units"
    if one.gone_by is None:
        return LEFT, "it is kept for good: give it a retention.ms, for Kafka cannot delete single records"
    return (
        GOES,
        f"no single record can be deleted; all that stands there now is gone by {one.gone_by:%Y-%m-%d %H:%M} UTC",
    )

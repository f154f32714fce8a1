"""retention: says to ClickHouse and Kafka how long what is stored of people stays, as the registry has it now."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NoReturn

from stoploss.cli import addresses
from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.cli.stack import end_with_parent
from stoploss.errors import RequestRefused
from stoploss.retention import Kept, kept, shortest_s
from stoploss.review.overview import in_force
from stoploss.review.words import listed
from stoploss.settings import Settings
from stoploss.spec.base import parse_duration
from stoploss.store import ttl
from stoploss.store.client import connect
from stoploss.topics import TOPICS
from streams.admin import Admin
from streams.reading import whole

DAY_S = 86_400
LEAST_REST_S = 60


@dataclass(frozen=True, slots=True)
class Retained:
    """tables, topics: that another retention was said to, or would be."""

    experiments: tuple[Kept, ...]
    tables: tuple[str, ...]
    topics: tuple[str, ...]


def retain(settings: Settings, check: bool, as_json: bool) -> bool:
    """True where all is as the specs say, be it by now; False where `check` found that it is not."""
    with working("looking how long everything stays"):
        found = look(settings, check)
    if as_json:
        print_json(found)
    else:
        _print(found, check)
    return not (check and (found.tables or found.topics))


def look(settings: Settings, check: bool) -> Retained:
    """How long everything is to stay; said to ClickHouse and Kafka unless it is only checked."""
    addresses.require_listener(settings.need_kafka())
    messages = whole(settings.need_kafka(), settings.topics("registry"))
    experiments = kept(in_force((message.key(), message.value()) for message in messages))
    return Retained(tuple(experiments), _tables(settings, experiments, check), _topics(settings, experiments, check))


def keep_retaining(settings: Settings, every: str) -> NoReturn:
    """Round after round, until it is ended. A round that fails ends it too: whoever runs it starts it again.

    every  how long it rests between two rounds, as a duration

    Raises RequestRefused where that is none, or too short.
    """
    every_s = _seconds(every)
    end_with_parent()
    while True:
        found = look(settings, check=False)
        if found.tables or found.topics:
            _print(found, check=False)
            sys.stdout.flush()
        time.sleep(every_s)


def _seconds(every: str) -> int:
    try:
        found = int(parse_duration(every))
    except ValueError as error:
        raise RequestRefused(f"--every: {error}") from error
    if found < LEAST_REST_S:
        raise RequestRefused(f"--every: {every!r} is less than {LEAST_REST_S} s; one hour (1h) will do")
    return found


def _tables(settings: Settings, experiments: Sequence[Kept], check: bool) -> tuple[str, ...]:
    with closing(connect(settings.need_clickhouse(), database=settings.clickhouse_database)) as client:
        differing = ttl.differing(client, experiments)
        if not check:
            ttl.apply(client, experiments, differing)
    return tuple(differing)


def _topics(settings: Settings, experiments: Sequence[Kept], check: bool) -> tuple[str, ...]:
    """A topic is shared, so it keeps no longer than the shortest of all allows, and never longer than made for."""
    admin, changed = Admin(settings.need_kafka()), []
    existing = admin.existing()
    for topic in TOPICS.values():
        name = settings.topics(topic.name)
        if topic.holds != "ids" or name not in existing:
            continue
        wanted_ms = 1_000 * shortest_s(experiments, topic.retention_ms // 1_000)
        if admin.configs(name)["retention.ms"] != str(wanted_ms):
            changed.append(name)
            if not check:
                admin.keep_for(name, wanted_ms)
    return tuple(changed)


def _print(found: Retained, check: bool) -> None:
    for one in found.experiments:
        held = "; an incident is open: nothing is deleted until it is closed" if one.held else ""
        print(f"{one.experiment}: traces and outcomes stay {one.seconds / DAY_S:g} days{held}")
    verb = "would be changed" if check else "changed"
    print(f"{verb}: tables {listed(found.tables)}; topics {listed(found.topics)}")

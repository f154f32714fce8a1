"""retention: says to ClickHouse and Kafka how long what is stored of people stays, as the registry has it now."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from stoploss.cli import addresses
from stoploss.cli.output import print_json
from stoploss.retention import Kept, kept, shortest_s
from stoploss.review.overview import in_force
from stoploss.review.words import listed
from stoploss.settings import Settings
from stoploss.store import ttl
from stoploss.store.client import connect
from stoploss.topics import TOPICS
from streams.admin import Admin
from streams.reading import whole

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Retained:
    """tables, topics: that another retention was said to, or would be."""

    experiments: tuple[Kept, ...]
    tables: tuple[str, ...]
    topics: tuple[str, ...]


def retain(settings: Settings, check: bool, as_json: bool) -> bool:
    """True where all is as the specs say, be it by now; False where `check` found that it is not."""
    addresses.require_listener(settings.need_kafka())
    messages = whole(settings.need_kafka(), settings.topics("registry"))
    experiments = kept(in_force((message.key(), message.value()) for message in messages))
    found = Retained(tuple(experiments), _tables(settings, experiments, check), _topics(settings, experiments, check))
    if as_json:
        print_json(found)
    else:
        _print(found, check)
    return not (check and (found.tables or found.topics))


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

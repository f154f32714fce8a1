"""doctor: what a person would look at first, each with what to do about it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from stoploss import __version__
from stoploss.cli import addresses
from stoploss.cli.progress import working
from stoploss.errors import StoplossError
from stoploss.kafka import connection
from stoploss.settings import Settings, without_secrets

LEAST_FREE_BYTES = 2 * 1024**3
CLOCK_LIMIT_MS = 500
HOW_LONG = ("retention.ms", "segment.ms")
"""Settings of a topic that people may choose for themselves."""
ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    said: str


def doctor(as_json: bool) -> bool:
    """Prints what it finds; True where all is well."""
    with working("looking"):
        findings = list(_findings(addresses.resolved()))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'BAD '} {finding.what}: {finding.said}")
    return all(finding.ok for finding in findings)


def _findings(settings: Settings) -> Iterator[Finding]:
    """What needs Kafka is not looked at where none answers: that is said once."""
    yield Finding("versions", True, _versions())
    kafka = _looked("Kafka", lambda: _kafka(settings))
    yield kafka
    if kafka.ok:
        yield _looked("topics", lambda: _topics(settings))
        yield _looked("clock", lambda: _clock(settings))
        yield _looked("roles", lambda: _roles(settings))
    yield _looked("ClickHouse", lambda: _clickhouse(settings))
    yield _keys(settings)
    yield _disk(settings)


def _looked(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except StoplossError as error:
        return Finding(what, False, str(error))
    except addresses.driver_errors() as error:
        return Finding(what, False, addresses.first_line(error))


def _versions() -> str:
    names = ("faust-streaming", "confluent-kafka", "river", "numpy", "polars")
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"stoploss {__version__}, Python {platform.python_version()}, {libraries}"


def _kafka(settings: Settings) -> str:
    from streams.admin import Admin

    bootstrap = settings.need_kafka()
    addresses.require_listener(bootstrap)
    return f"{bootstrap} answers, {len(Admin(bootstrap).existing())} topics"


def _topics(settings: Settings) -> str:
    """Every topic with the settings that delivery depends on."""
    from stoploss.errors import ConfigurationError
    from stoploss.topics import TOPICS
    from streams.admin import Admin, partitions_of

    admin = Admin(settings.need_kafka())
    existing = admin.existing()
    wrong = []
    for topic in TOPICS.values():
        name = settings.topics(topic.name)
        if name not in existing:
            wrong.append(f"{name} is missing")
            continue
        if topic.fixed and existing[name] != partitions_of(topic, settings):
            wrong.append(f"{name} has {existing[name]} partitions, settings say {partitions_of(topic, settings)}")
        found = admin.configs(name)
        wrong += [
            f"{name} has {key}={found.get(key)}, needs {value}"
            for key, value in topic.config().items()
            if key not in HOW_LONG and found.get(key) != value
        ]
    if wrong:
        raise ConfigurationError(f"{'; '.join(wrong)}; `stoploss topics` creates what is missing")
    return f"{len(TOPICS)} topics as they should be"


def _clock(settings: Settings) -> str:
    """The broker stamps the ledger: its newest stamp may not lie in this machine's future."""
    from stoploss.errors import ConfigurationError
    from streams.reading import newest_timestamp_ms

    newest_ms = newest_timestamp_ms(settings.need_kafka(), settings.topics("ledger"))
    if newest_ms is None:
        return "no ledger entry to compare with yet"
    ahead_ms = newest_ms - time.time() * 1_000
    if ahead_ms > CLOCK_LIMIT_MS:
        raise ConfigurationError(f"the broker's last stamp is {ahead_ms:.0f} ms ahead; set both clocks by NTP")
    return f"the broker's last stamp is {max(0.0, -ahead_ms) / 1_000:.1f} s old, none lies ahead of this machine"


def _roles(settings: Settings) -> str:
    """Each role is a consumer group; one without a member has nobody who plays it."""
    from confluent_kafka.admin import AdminClient

    from stoploss.errors import ConfigurationError
    from streams.worker import OPTIONAL, ROLES

    needed = [role for role in ROLES if role not in OPTIONAL]
    groups = {f"stoploss-{settings.installation}-{role}": role for role in needed}
    client = AdminClient({**connection(settings.need_kafka()), "log_level": 0})
    described = client.describe_consumer_groups(list(groups), request_timeout=ANSWER_TIMEOUT_S)
    members = {groups[name]: len(future.result(ANSWER_TIMEOUT_S).members) for name, future in described.items()}
    if absent := [role for role in needed if not members[role]]:
        raise ConfigurationError(
            f"nobody plays {', '.join(absent)}; `stoploss worker {' '.join(absent)}` does, `stoploss up` runs all"
        )
    return f"each of {', '.join(needed)} has a process"


def _clickhouse(settings: Settings) -> str:
    from stoploss.store.client import connect

    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    return f"{without_secrets(settings.need_clickhouse())} answers, version {client.server_version}"


def _keys(settings: Settings) -> Finding:
    missing = [name for name in ("monitor.key", "monitor.pub") if not (settings.keys / name).exists()]
    if missing:
        return Finding("keys", False, f"{', '.join(missing)} missing in {settings.keys}; `stoploss keys` makes them")
    return Finding("keys", True, f"in {settings.keys}")


def _disk(settings: Settings) -> Finding:
    home = settings.home.absolute()
    place = next(directory for directory in (home, *home.parents) if directory.is_dir())
    free = shutil.disk_usage(place).free
    said = f"{free / 1024**3:.1f} GiB free at {place}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", False, f"{said}; the embedded parts need {LEAST_FREE_BYTES // 1024**3} GiB to be safe")
    return Finding("disk", True, said)

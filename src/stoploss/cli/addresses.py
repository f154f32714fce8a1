"""Where a running `stoploss up` is: written down when it is ready, so that other commands need no settings.

Who runs in a home holds a lock there. The system releases it when that process is gone, however it went, so a file
that a killed one left behind misleads nobody.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stoploss.errors import ConfigurationError
from stoploss.settings import Settings, load

FILE = "addresses.json"
LOCK = "up.lock"
KNOCK_TIMEOUT_S = 3.0
KAFKA_PORT = 9092
LOOKING_S = 0.5
LONGEST_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of the parts that this installation runs on, and the process that started them."""

    kafka: str
    clickhouse_url: str
    pid: int
    ledger_partitions: int
    source_partitions: int


# ---- of the one that runs --------------------------------------------------------------------------


@contextmanager
def held(home: Path) -> Iterator[None]:
    """The home is this process's as long as it lasts; raises ConfigurationError where it is another's."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"the home {home} cannot be used ({error.strerror}); set STOPLOSS_HOME to a directory of yours"
        ) from error
    try:
        if not _locked_soon(descriptor):
            raise ConfigurationError(
                f"the home {home} is in use by another `stoploss up` or demo; stop that one first, or set "
                "STOPLOSS_HOME to another directory"
            )
        yield
    finally:
        os.close(descriptor)


def _locked_soon(descriptor: int) -> bool:
    """Others that only look hold the lock for a moment."""
    deadline_s = time.monotonic() + LOOKING_S
    while not _locked(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def written(settings: Settings) -> Iterator[None]:
    """Other commands find the addresses as long as it lasts."""
    path = settings.home / FILE
    addresses = Addresses(
        settings.need_kafka(),
        settings.need_clickhouse(),
        os.getpid(),
        settings.ledger_partitions,
        settings.source_partitions,
    )
    partial = path.with_suffix(".tmp")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)  # the address of ClickHouse may hold a password
    partial.write_text(json.dumps(asdict(addresses)))
    os.replace(partial, path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


# ---- of all others ---------------------------------------------------------------------------------


def running(home: Path) -> Addresses | None:
    """What a living `stoploss up` wrote down; None where there is none."""
    if not _is_held(home):
        return None
    try:
        return Addresses(**json.loads((home / FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _is_held(home: Path) -> bool:
    try:
        descriptor = os.open(home / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def resolved() -> Settings:
    """Settings; addresses that they leave open are those of a running `stoploss up` of the same home."""
    settings = load()
    found = running(settings.home)
    if found is None or settings.kafka:
        return settings
    return load(
        kafka=found.kafka,
        clickhouse_url=settings.clickhouse_url or found.clickhouse_url,
        ledger_partitions=found.ledger_partitions,
        source_partitions=found.source_partitions,
    )


def connected() -> Settings:
    """The same for a command that needs Kafka: refused at once where nobody listens, and not after a long silence."""
    from streams import shared_schemas  # with the driver, which is slow to import

    settings = resolved()
    require_listener(settings.need_kafka())
    shared_schemas.learn(settings)
    return settings


def require_listener(bootstrap: str) -> None:
    """Raises ConfigurationError where none of the bootstrap servers takes a connection."""
    faults = []
    for server in filter(None, map(str.strip, bootstrap.split(","))):
        try:
            socket.create_connection(_endpoint(server), KNOCK_TIMEOUT_S).close()
        except (OSError, ValueError) as error:
            faults.append(f"{server}: {_why(error)}")
        else:
            return
    raise ConfigurationError(f"no Kafka broker answers ({'; '.join(faults)}); start it, or correct STOPLOSS_KAFKA")


def _endpoint(server: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:port`, `host` or `PLAINTEXT://host:port`.

    >>> _endpoint("broker-1"), _endpoint("SSL://[::1]:9093")
    (('broker-1', 9092), ('::1', 9093))
    """
    split = urlsplit(server if "://" in server else f"//{server}")
    return split.hostname or "", split.port or KAFKA_PORT


def driver_errors() -> tuple[type[Exception], ...]:
    """What the clients of Kafka and ClickHouse raise; imported when asked for, since both are slow to."""
    from clickhouse_connect.driver.exceptions import ClickHouseError
    from confluent_kafka import KafkaException

    return KafkaException, ClickHouseError


def first_line(error: Exception) -> str:
    """What a driver's error says, without its wrapping."""
    told = error.args[0].str() if error.args and hasattr(error.args[0], "str") else str(error)
    first = (told or type(error).__name__).splitlines()[0]
    of_clickhouse = re.search(r"DB::Exception: (.+?)(?: \(for url|$)", first)
    return (of_clickhouse[1] if of_clickhouse else first)[:LONGEST_SHOWN]


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()

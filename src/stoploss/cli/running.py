"""up, worker, topics, keys."""

from __future__ import annotations

import getpass
import json
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from stoploss.cli import addresses
from stoploss.cli.console import link
from stoploss.settings import Settings, load, without_secrets
from stoploss.topics import DAY_MS, FOR_GOOD, TOPICS, Topic

if TYPE_CHECKING:
    from stoploss.cli.stack import Stack

SIGNALS = (signal.SIGTERM, signal.SIGINT)
WATCH_EVERY_S = 0.5


def up() -> None:
    """Runs until SIGTERM or Ctrl-C; what ends by itself is started again."""
    from stoploss.cli.stack import Stack

    settings = load()
    try:
        with addresses.held(settings.home):
            _interrupt_once()
            with Stack(settings, say, console=True, retention=True) as stack, addresses.written(stack.settings):
                _tell(stack)
                _watch(stack)
    except KeyboardInterrupt:
        say("stopped")


def _interrupt_once() -> None:
    """The first signal ends whatever is going on, the start as well; later ones do not disturb the orderly end."""

    def interrupt(*_: object) -> None:
        for name in SIGNALS:
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt

    for name in SIGNALS:
        signal.signal(name, interrupt)


def _tell(stack: Stack) -> None:
    settings = stack.settings
    say(f"up: Kafka {settings.kafka}, ClickHouse {without_secrets(settings.need_clickhouse())}")
    if stack.console_address is not None:
        say(f"console: {link(settings.home, stack.console_address, getpass.getuser())}")
    if settings.health_port:
        ports = ", ".join(f"{role.name} {role.health_port}" for role in stack.processes if role.health_port)
        say(f"/livez, /readyz and /metrics on {settings.health_host}: {ports}")
    say(f"flag file: {stack.flag_file}; logs: {stack.logs}; end with Ctrl-C")


def _watch(stack: Stack) -> None:
    try:
        while True:
            for sentence in stack.watch():
                say(sentence)
            time.sleep(WATCH_EVERY_S)
    finally:
        say("stopping")


def say(sentence: str) -> None:
    print(sentence, flush=True)


def worker(roles: Sequence[str]) -> None:
    """Runs until a signal, or until it cannot go on; refused at once where Kafka is not there to begin with."""
    from stoploss.cli.stack import end_with_parent
    from streams.collecting import nothing_collected

    with nothing_collected():
        from streams.worker import run

    end_with_parent()
    run(addresses.connected(), roles)


def topics(show: bool, as_json: bool) -> None:
    from stoploss.cli.progress import working
    from streams.admin import Admin, partitions_of

    settings = addresses.resolved() if show else addresses.connected()
    rows = [
        {
            "topic": settings.topics(topic.name),
            "carries": topic.carries,
            "partitions": partitions_of(topic, settings),
            "replication": settings.replication,
            "config": dict(topic.config()),
        }
        for topic in TOPICS.values()
    ]
    with working("creating topics"):
        created = [] if show else Admin(settings.need_kafka()).create(settings)
    if as_json:
        print(json.dumps({"topics": rows, "created": created}, indent=2))
        return
    print_table(settings)
    if not show:
        print(f"created: {', '.join(created) or 'none, all were there'}")


def acls(show: bool, as_json: bool) -> None:
    """Allows each user what it needs; printed, as the commands of Kafka's own tool."""
    from stoploss.acls import all_acls
    from streams.admin import Admin

    settings = addresses.resolved() if show else addresses.connected()
    wanted = all_acls(settings)
    if not show:
        Admin(settings.need_kafka()).allow(wanted)
    if as_json:
        print(json.dumps({"acls": [asdict(acl) for acl in wanted], "created": not show}, indent=2))
    elif show:
        for acl in wanted:
            print(acl.command(settings.kafka or "HOST:PORT"))
    else:
        print(f"allowed: {len(wanted)} ACLs of {len({acl.principal for acl in wanted})} users")


def print_table(settings: Settings) -> None:
    from rich.table import Table

    from stoploss.cli import output
    from streams.admin import partitions_of

    table = Table("topic", "partitions", "kept", "carries", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for topic in TOPICS.values():
        table.add_row(settings.topics(topic.name), str(partitions_of(topic, settings)), _kept(topic), topic.carries)
    output.show(table)


def _kept(topic: Topic) -> str:
    """
    >>> _kept(TOPICS["measures"]), _kept(TOPICS["registry"]), _kept(TOPICS["leases"]), _kept(TOPICS["ledger"])
    ('7 days', 'last of each key', '10 minutes', 'for good')
    """
    if topic.compact:
        return "last of each key"
    if topic.retention_ms == FOR_GOOD:
        return "for good"
    days, rest_ms = divmod(topic.retention_ms, DAY_MS)
    if rest_ms:
        return f"{topic.retention_ms // 60_000} minutes"
    return "1 day" if days == 1 else f"{days} days"


def tables() -> None:
    from stoploss.cli.progress import working
    from stoploss.store import schema
    from stoploss.store.client import connect

    settings = addresses.resolved()
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    with working("creating tables"):
        schema.migrate(client)
        client.close()
    print(f"tables of {settings.clickhouse_database}: all there")


def person_keys(name: str) -> None:
    from stoploss.control.keys import create_person_keys
    from stoploss.signing import load_public_key, raw_text

    pair = create_person_keys(load().keys / "people", name)
    print(f"key {pair.key_id}: {pair.private} signs what {name} asks for, once STOPLOSS_PERSON_KEY names it")
    print(f"the line for people in roles.yaml: {name}: {raw_text(load_public_key(pair.public))}")


def keys(break_glass: bool) -> None:
    from stoploss.control.keys import create_break_glass_keys, create_keys, load_or_create_secret

    settings = load()
    if break_glass:
        pair = create_break_glass_keys(settings.keys)
        print(f"key {pair.key_id}: {pair.private} breaks the glass, keep it where on-call is; controllers and courier")
        print(f"trust it once {pair.public} is in their home's keys and they were started again")
        return
    pair = create_keys(settings.keys)
    load_or_create_secret(settings.keys / "secret.key")
    print(f"key {pair.key_id}: {pair.private} signs, {pair.public} verifies; give only the second to controllers")


def credentials(directory: Path, hosts: Sequence[str]) -> None:
    """Says what was written, and no secret."""
    from stoploss.control.credentials import BROKER_FILE, CA_FILE, PASSWORD_SUFFIX, create_credentials

    made = create_credentials(directory, load(), hosts)
    print(f"{made.directory / CA_FILE}: what clients trust, until {made.expires:%Y-%m-%d}")
    print(f"{made.directory / BROKER_FILE}: key and certificate of the broker, for {', '.join(hosts)}")
    for user in made.users:
        print(f"{made.directory / user}{PASSWORD_SUFFIX}")
    print("for one machine: in production your own authority signs, and a store of secrets keeps the passwords")

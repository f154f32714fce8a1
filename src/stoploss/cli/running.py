"""up, worker, controller, topics, keys."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

from stoploss.cli import addresses
from stoploss.errors import ConfigurationError
from stoploss.settings import load
from stoploss.topics import TOPICS


def up() -> None:
    """Runs until SIGTERM or Ctrl-C; what ends by itself is started again."""
    from stoploss.cli.stack import Stack

    settings = load()
    if addresses.running(settings.home) is not None and not settings.kafka:
        raise ConfigurationError(
            f"`stoploss up` runs already with {settings.home}; stop it first, or set STOPLOSS_HOME to another directory"
        )
    stopping = _on_signal()
    with Stack(settings, say) as stack:
        addresses.write(stack.settings)
        try:
            say(f"up: Kafka {stack.settings.kafka}, ClickHouse {stack.settings.clickhouse_url}")
            say(f"flag file: {stack.flag_file}; logs: {settings.home / 'logs'}; end with Ctrl-C")
            while not stopping.wait(0.5):
                for sentence in stack.watch():
                    say(sentence)
        finally:
            addresses.remove(settings.home)
            say("stopping")


def say(sentence: str) -> None:
    print(sentence, flush=True)


def _on_signal() -> threading.Event:
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    return stopping


def worker(roles: list[str]) -> None:
    from stoploss.cli.stack import end_with_parent
    from streams.worker import run

    end_with_parent()
    run(addresses.resolved(), roles)


def controller(file: Path, name: str, instance: str) -> None:
    """Keeps the flag file as the commands want it, and acks; until a signal."""
    from stoploss.cli.stack import end_with_parent
    from stoploss.control.controller import Controller
    from stoploss.control.flagd import FlagdFile
    from stoploss.control.kafka_loop import ControlTopics, run_controller
    from stoploss.control.position import PositionFile
    from stoploss.signing import Verifier

    end_with_parent()
    settings = addresses.resolved()
    obeying = Controller(
        name=name,
        instance=instance,
        actuator=FlagdFile(file),
        verifier=Verifier.load(settings.keys / "monitor.pub"),
        positions=PositionFile(file.with_name(f"{file.name}.position.json")),
    )
    names = settings.topics
    where = ControlTopics(settings.need_kafka(), names("control"), names("acks"), names("registry"))
    run_controller(obeying, where, _on_signal())


def topics(show: bool, as_json: bool) -> None:
    from streams.admin import Admin, partitions_of

    settings = addresses.resolved()
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
    created = [] if show else Admin(settings.need_kafka()).create(settings)
    if as_json:
        print(json.dumps({"topics": rows, "created": created}, indent=2))
        return
    for row in rows:
        config = " ".join(f"{name}={value}" for name, value in dict(row["config"]).items())  # type: ignore[call-overload]
        print(f"{row['topic']:<24} {row['partitions']:>3} partitions  {config}  # {row['carries']}")
    if not show:
        print(f"created: {', '.join(created) or 'none, all were there'}")


def keys() -> None:
    from stoploss.control.keys import create_keys, load_or_create_secret

    settings = load()
    pair = create_keys(settings.keys)
    load_or_create_secret(settings.keys / "secret.key")
    print(f"key {pair.key_id}: {pair.private} signs, {pair.public} verifies; give only the second to controllers")

"""A controller on the real Kafka: what it does at its start, how it follows, and how it ends."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stoploss import registry
from stoploss.commands import Ack, AckStatus, Command
from stoploss.control.controller import Controller
from stoploss.control.flagd import FlagdFile
from stoploss.control.kafka_loop import ControlTopics, run_controller
from stoploss.control.messages import CommandMessage, write_command
from stoploss.control.position import PositionFile
from stoploss.control.pulse import Pulse
from stoploss.errors import ConfigurationError
from stoploss.signing import Signer, Verifier
from stoploss.wire import records

from .orders import NOW, order, rollback

WAIT_S = 30.0
PARTITIONS = 3
FAR = 2**60

pytestmark = pytest.mark.kafka


class Broker(Protocol):
    @property
    def bootstrap(self) -> str: ...


@dataclass
class Installation:
    """Topics of their own on the shared broker; the monitor's side of them, and a directory for controllers."""

    bootstrap: str
    directory: Path
    signer: Signer
    verifier: Verifier
    pulse: Pulse = field(default_factory=Pulse)
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}.")

    def __post_init__(self) -> None:
        names = (self.topics.control, self.topics.acks, self.topics.registry)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        created = admin.create_topics([NewTopic(name, num_partitions=PARTITIONS) for name in names])
        for done in created.values():
            done.result(WAIT_S)

    @property
    def topics(self) -> ControlTopics:
        control, acks, registry = (f"{self.prefix}{name}" for name in ("control", "acks", "registry"))
        return ControlTopics(self.bootstrap, control, acks, registry)

    @property
    def flags(self) -> Path:
        return self.directory / "flags.json"

    def message(self, command: Command) -> CommandMessage:
        return write_command(replace(command, topic=self.topics.control), self.signer, "test")

    def issue(self, *messages: CommandMessage, partition: int = 1, commit: bool = True) -> None:
        """In one transaction, as the judge does it."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": f"{self.prefix}{uuid.uuid4()}"})
        producer.init_transactions(WAIT_S)
        producer.begin_transaction()
        for message in messages:
            producer.produce(self.topics.control, message.value, message.key, partition, headers=list(message.headers))
        producer.flush(WAIT_S)
        (producer.commit_transaction if commit else producer.abort_transaction)(WAIT_S)

    def register(self, command: Command, *, served: bool) -> None:
        """The registry names this command, and whether a controller has applied it."""
        entry = registry.RegistryEntry(
            experiment=command.experiment,
            partition=1,
            spec="",
            spec_hash="",
            lifecycle="running",
            run=command.run,
            epoch=command.epoch,
            sequence=command.sequence,
            release_variant=command.release_variant,
            exposure=command.exposure,
            stopped_segments=(),
            command_id=command.command_id,
            changed_at=NOW,
            offset=0,
            served_at=NOW if served else None,
        )
        producer = Producer({"bootstrap.servers": self.bootstrap})
        producer.produce(self.topics.registry, registry.encode(entry), command.experiment.encode(), 1)
        assert producer.flush(WAIT_S) == 0

    @contextmanager
    def controller(self, name: str = "a", clock: int = NOW) -> Iterator[Future[None]]:
        """A running controller that has caught up; its ending is awaited on the way out."""
        stop, caught_up = threading.Event(), threading.Event()
        controller = Controller(
            name="flagd",
            instance=name,
            actuator=FlagdFile(self.flags),
            verifier=self.verifier,
            positions=PositionFile(self.directory / f"{name}.json"),
            clock=lambda: clock,
        )
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(
                run_controller, controller, self.topics, stop, caught_up=caught_up, beat=self.pulse.beat
            )
            try:
                wait_until(lambda: caught_up.is_set() or running.done())
                yield running
            finally:
                stop.set()
                running.result(WAIT_S)

    def acks(self, wanted: int) -> list[Ack]:
        """The first so many acks, in the order of their partition."""
        with self._reading_acks() as consumer:
            found: list[Ack] = []
            wait_until(lambda: len(found) >= wanted or _poll_into(consumer, found))
        return found

    @contextmanager
    def _reading_acks(self) -> Iterator[Consumer]:
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([self.topics.acks])
        try:
            yield consumer
        finally:
            consumer.close()

    def presence(self, wanted: int) -> list[tuple[str, str]]:
        """The first so many signs of life: (instance, status)."""
        found: list[tuple[str, str]] = []
        with self._reading_acks() as consumer:
            deadline = time.monotonic() + WAIT_S
            while len(found) < wanted and time.monotonic() < deadline:
                message = consumer.poll(0.05)
                if message is not None and message.error() is None:
                    ack = records.decode(message.value(), {"ack": Ack})
                    found += [(ack.instance, ack.status.value)] if not ack.command_id else []
        return found

    def flag_command(self) -> Any:
        """Id of the command that the flag file shows."""
        return json.loads(self.flags.read_text())["flags"]["checkout-model"]["metadata"]["command_id"]


def _poll_into(consumer: Consumer, found: list[Ack]) -> bool:
    message = consumer.poll(0.05)
    if message is not None and message.error() is None:
        ack = records.decode(message.value(), {"ack": Ack})
        found += [ack] if ack.status not in (AckStatus.ALIVE, AckStatus.LEFT) else []
    return False


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"did not hold within {WAIT_S} s"
        time.sleep(0.002)


def _said(acks: list[Ack]) -> list[tuple[str, str]]:
    return [(ack.command_id, ack.status.value) for ack in acks]


@pytest.fixture
def site(kafka: Broker, tmp_path: Path, signer: Signer, verifier: Verifier) -> Installation:
    return Installation(kafka.bootstrap, tmp_path, signer, verifier)


def test_a_command_reaches_the_flag_file_and_is_acknowledged(site: Installation) -> None:
    with site.controller():
        site.issue(site.message(order(expires_at=FAR)))
        site.issue(site.message(rollback(2)))
        acks = site.acks(4)
        assert site.flag_command() == "c-1-2"
    assert _said(acks) == [("c-1-1", "received"), ("c-1-1", "applied"), ("c-1-2", "received"), ("c-1-2", "applied")]
    assert {(ack.controller, ack.instance) for ack in acks} == {("flagd", "a")}


def test_a_controller_that_has_caught_up_is_ready(site: Installation) -> None:
    assert site.pulse.not_ready()
    with site.controller():
        wait_until(lambda: not site.pulse.not_ready())


def test_a_late_starter_goes_straight_to_the_latest_state(site: Installation) -> None:
    raises = [site.message(order(sequence=number, expires_at=FAR)) for number in range(1, 200)]
    site.issue(*raises, site.message(rollback(200)))
    site.issue(
        site.message(order(experiment="search", flag="search-model", command_id="s", expires_at=FAR)), partition=2
    )
    with site.controller():
        assert site.flag_command() == "c-1-200"
        acks = site.acks(4)
    assert sorted(_said(acks)) == [("c-1-200", "applied"), ("c-1-200", "received"), ("s", "applied"), ("s", "received")]


def test_a_restarted_controller_remembers_the_stop_and_says_again_that_it_holds(site: Installation) -> None:
    with site.controller():
        site.issue(site.message(rollback(2)))
        site.acks(2)
    site.flags.unlink()
    with site.controller():
        assert site.flag_command() == "c-1-2"
        site.issue(site.message(order(sequence=3, expires_at=FAR)))
        acks = site.acks(6)
    assert _said(acks)[2:] == [
        ("c-1-2", "received"),
        ("c-1-2", "applied"),
        ("c-1-3", "received"),
        ("c-1-3", "rejected"),
    ]


def test_an_old_raise_is_restored_by_a_new_controller_where_another_has_applied_it(site: Installation) -> None:
    raising = order(expires_at=NOW)
    site.issue(site.message(raising))
    with site.controller("without-registry"):
        assert [ack.reason.startswith("it raises exposure and expired") for ack in site.acks(2)] == [False, True]
        assert not site.flags.exists()
    site.register(raising, served=True)
    with site.controller("with-registry"):
        assert site.flag_command() == "c-1-1"


def test_a_raise_that_came_too_late_is_not_in_force_for_whoever_starts_next(site: Installation) -> None:
    """The registry names the last command, whether or not anybody has obeyed it."""
    raising = order(expires_at=NOW)
    site.issue(site.message(raising))
    site.register(raising, served=False)
    with site.controller():
        assert [ack.reason.startswith("it raises exposure and expired") for ack in site.acks(2)] == [False, True]
    with site.controller():
        assert [ack.status for ack in site.acks(4)[2:]] == [AckStatus.RECEIVED, AckStatus.REJECTED]
    assert not site.flags.exists()


def test_a_forged_command_changes_nothing_and_is_reported(site: Installation) -> None:
    real = site.message(order(sequence=9, expires_at=FAR))
    with site.controller():
        site.issue(site.message(rollback(2)))
        site.issue(replace(real, value=real.value[:-1] + b"\x7f"), replace(real, headers=()))
        acks = site.acks(4)
        assert site.flag_command() == "c-1-2"
    assert [(ack.status.value, ack.experiment) for ack in acks[2:]] == [("rejected", "checkout")] * 2
    assert all(ack.command_id.startswith("unverified-") for ack in acks[2:])


def test_a_command_of_an_aborted_transaction_was_never_issued(site: Installation) -> None:
    with site.controller():
        site.issue(site.message(rollback(2)), commit=False)
        site.issue(site.message(order(expires_at=FAR)))
        assert _said(site.acks(2)) == [("c-1-1", "received"), ("c-1-1", "applied")]
        assert site.flag_command() == "c-1-1"


def test_two_instances_both_read_every_command(site: Installation) -> None:
    with site.controller("a"), site.controller("b"):
        site.issue(site.message(rollback(2)))
        acks = site.acks(4)
    assert sorted((ack.instance, ack.status.value) for ack in acks) == [
        ("a", "applied"),
        ("a", "received"),
        ("b", "applied"),
        ("b", "received"),
    ]


def test_an_instance_says_that_it_lives_once_it_has_caught_up_and_that_it_goes(site: Installation) -> None:
    with site.controller("a"):
        site.presence(1)
        with site.controller("b"):
            pass
    said = site.presence(4)
    for instance in ("a", "b"):
        assert [status for name, status in said if name == instance] == ["alive", "left"]


def test_a_missing_topic_is_named_with_the_way_to_make_it(site: Installation, tmp_path: Path) -> None:
    topics = replace(site.topics, control="nowhere.control")
    controller = Controller(
        name="flagd",
        instance="a",
        actuator=FlagdFile(site.flags),
        verifier=site.verifier,
        positions=PositionFile(tmp_path / "positions.json"),
    )
    with pytest.raises(ConfigurationError, match=r"cannot read nowhere\.control: .* `stoploss topics`"):
        run_controller(controller, topics, threading.Event())


def test_a_controller_that_is_stopped_before_it_starts_does_nothing(site: Installation, tmp_path: Path) -> None:
    site.issue(site.message(order(expires_at=FAR)))
    stop = threading.Event()
    stop.set()
    controller = Controller(
        name="flagd",
        instance="a",
        actuator=FlagdFile(site.flags),
        verifier=site.verifier,
        positions=PositionFile(tmp_path / "positions.json"),
    )
    run_controller(controller, site.topics, stop)
    assert not site.flags.exists()

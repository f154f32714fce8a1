"""A controller of a user's own on the real Kafka, by the one call that it takes; and a dry run beside it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from stoploss.commands import AckStatus, Command
from stoploss.control import Controller, obey
from stoploss.control.dry_run import DryRun
from stoploss.control.flagd import FlagdFile
from stoploss.control.kafka_loop import run_controller
from stoploss.control.position import PositionFile
from stoploss.signing import Signer, Verifier

from .orders import order, rollback
from .test_kafka_loop import WAIT_S, Broker, Installation, wait_until

pytestmark = pytest.mark.kafka


@dataclass
class Gateway:
    weights: list[tuple[str, float]] = field(default_factory=list)

    def apply(self, command: Command) -> None:
        self.weights.append((command.treatment_variant, command.exposure))


@pytest.fixture
def installation(kafka: Broker, tmp_path: Path, signer: Signer, verifier: Verifier) -> Installation:
    return Installation(kafka.bootstrap, tmp_path, signer, verifier)


def ours(command: Command) -> Command:
    return replace(command, controllers=("gateway",), expires_at=None)


def following(stack: ExitStack, call: object, *arguments: object, **named: object) -> None:
    """Runs a controller in a thread until the stack is left, from when it has caught up."""
    assert callable(call)
    stop, caught_up = threading.Event(), threading.Event()
    pool: AbstractContextManager[ThreadPoolExecutor] = ThreadPoolExecutor(1)
    running = stack.enter_context(pool).submit(call, *arguments, stop=stop, caught_up=caught_up, **named)
    stack.callback(lambda: running.result(WAIT_S))
    stack.callback(stop.set)
    wait_until(lambda: caught_up.is_set() or running.done())


def test_an_actuator_of_ones_own_obeys_acks_and_remembers(installation: Installation, key_directory: Path) -> None:
    gateway, positions = Gateway(), installation.directory / "gateway.json"
    with ExitStack() as stack:
        following(
            stack,
            obey,
            gateway,
            bootstrap=installation.bootstrap,
            name="gateway",
            public_keys=[key_directory / "monitor.pub"],
            positions=positions,
            prefix=installation.prefix,
        )
        commands = ours(order()), rollback(2, controllers=("flagd",)), ours(rollback(3))
        installation.issue(*map(installation.message, commands))
        acks = installation.acks(4)
    assert gateway.weights == [("small", 0.1), ("small", 0.0)]
    assert [(ack.command_id, ack.status) for ack in acks] == [
        (name, status) for name in ("c-1-1", "c-1-3") for status in (AckStatus.RECEIVED, AckStatus.APPLIED)
    ]
    assert PositionFile(positions).all()["checkout"].latched


def test_a_dry_run_beside_the_real_one_writes_nothing_and_sends_no_ack(installation: Installation) -> None:
    said: list[str] = []
    rehearsing = Controller(
        name="flagd",
        instance="dry",
        actuator=DryRun(FlagdFile(installation.directory / "dry.json"), said.append),
        verifier=installation.verifier,
        positions=PositionFile(installation.directory / "dry-positions.json", writes=False),
    )
    with ExitStack() as stack:
        following(stack, run_controller, rehearsing, replace(installation.topics, acks=None))
        with installation.controller():
            installation.issue(installation.message(rollback()))
            acks = installation.acks(2)
        wait_until(lambda: len(said) == 1)
    assert {ack.instance for ack in acks} == {"a"}
    assert '"defaultVariant": "current"' in said[0]
    assert not list(installation.directory.glob("dry*"))

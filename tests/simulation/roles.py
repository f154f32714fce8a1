"""The roles as they are made here: each by the project's own class, with keys, settings and an actuator of the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stoploss.commands import Command
from stoploss.control import kafka_loop
from stoploss.control.controller import Controller
from stoploss.control.kafka_loop import ControlTopics
from stoploss.control.position import PositionFile
from stoploss.settings import Settings
from stoploss.signing import Signer, Verifier, key_id_of
from streams import courier, intake, joiner, judge, registrar, resolver
from streams.partition_judge import Keys
from tests.simulation.batons import Baton, SimEvent
from tests.simulation.cheap import Key
from tests.simulation.processes import Process

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario
    from tests.simulation.world import World

SETTINGS = Settings(
    kafka="simulated:9092",
    home=Path("nowhere"),
    topic_prefix="s.",
    installation="sim",
    ledger_partitions=2,
    source_partitions=2,
    ack_deadline_ms=5_000,
    clickhouse_url="http://simulated:8123",
)
WITH_PARTITIONS = {n: SETTINGS.model_copy(update={"ledger_partitions": n}) for n in (1, 2)}
TOPICS = SETTINGS.topics
PAIR = Key(b"simulated".ljust(32, b"."))
KEYS = Keys(Signer(PAIR.private), b"s" * 32)
VERIFIER = Verifier({key_id_of(PAIR.public): PAIR.public})
SALT = b"salt"
WORKERS = ("registrar", "intake", "judge", "courier")
OF_OUTCOMES = ("joiner", "resolver")
WAITS_S = {"outcomes_retry_1m": 2.0, "outcomes_retry_10m": 5.0, "outcomes_retry_1h": 10.0}
QUICK = tuple(replace(stage, wait_s=WAITS_S.get(stage.topic, 0.0)) for stage in resolver.STAGES)
LONGEST_WAIT_US = round(sum(WAITS_S.values()) * 1_000_000)
CONTROLLER = "controller "


def workers(scenario: Scenario) -> tuple[str, ...]:
    return (*WORKERS, *(OF_OUTCOMES if scenario.outcomes else ()))


class Disk:
    """A file that survives its process: what PositionFile asks of a path."""

    def __init__(self) -> None:
        self.content: bytes | None = None

    def read_bytes(self) -> bytes:
        if self.content is None:
            raise FileNotFoundError
        return self.content

    def write(self, content: bytes) -> None:
        self.content = content


@dataclass(slots=True)
class Flags:
    """What one controller switches: it survives the controller.

    standing  the last command by experiment
    """

    world: World
    controller: str
    standing: dict[str, Command] = field(default_factory=dict)

    def apply(self, command: Command) -> None:
        process = self.world.stack[-1][0]
        self.world.effect(process, "apply")
        if self.world.happens(self.world.scenario.actuator_fails):
            raise OSError("the disk refuses")
        self.standing[command.experiment] = command
        self.world.witness.obeyed(self.controller, command)
        self.world.effect(process, "applied")


def make(world: World, process: Process) -> None:
    """Makes the role of a process, which joins its group at the end."""
    if process.role.startswith(CONTROLLER):
        _make_controller(world, process)
        return
    settings = WITH_PARTITIONS[world.scenario.partitions]
    makers: dict[str, Callable[[], object]] = {
        "registrar": lambda: registrar.Registrar(settings),
        "intake": lambda: intake.build(settings, SALT),
        "joiner": lambda: joiner.build(settings, SALT),
        "resolver": lambda: resolver.Resolver(settings, QUICK),
        "judge": lambda: judge.Judge(settings, KEYS),
        "courier": lambda: courier.Courier(settings, VERIFIER),
    }
    process.made = makers[process.role]()
    assert process.app is not None
    process.app.begin()


def _make_controller(world: World, process: Process) -> None:
    name = process.role.removeprefix(CONTROLLER)
    disk = world.disks.setdefault(name, Disk())
    controller = Controller(
        name=name,
        instance="one",
        actuator=world.flags[name],
        verifier=VERIFIER,
        positions=PositionFile(disk),  # type: ignore[arg-type]
        clock=lambda: world.now_us,
    )
    topics = ControlTopics("simulated", TOPICS("control"), TOPICS("acks"), TOPICS("registry"))
    stop = SimEvent()
    baton = Baton(process, lambda: kafka_loop.run_controller(controller, topics, stop), restless=True)  # type: ignore[arg-type]
    process.pollers.append(baton)

"""Twenty times kill -9 of judge and intake under running traffic; then an independent look at what is left.

Demanded is what DELIVERY names: the journal is the fold of the ledger as recorded, on another kind of machine; the
evidence is every valid trace exactly once; every experiment ended in the state that it had to, and so did its flag.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka.admin import AdminClient

from stoploss import journal
from stoploss.commands import Command
from stoploss.control.messages import read_command
from stoploss.emit.encoding import encode_trace
from stoploss.flags import FlagReader
from stoploss.replay import StoredEntry, replay
from stoploss.settings import Settings, load
from stoploss.simulate.assign import Assign, arms_of
from stoploss.simulate.harm import Fails, Injected, Slows
from stoploss.simulate.traffic import Traffic
from stoploss.spec.file import parse_experiment
from tests.installation import (
    Installation,
    Kafka,
    Role,
    committed,
    group_of,
    headers_of,
    installed,
    messages,
    registry_of,
)
from tests.sending import Place, Sender, untrimmed
from tests.timelines import SPEC, spec

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(420)]

KILLS = 20
SEED = 11
RATE_PER_S = 250.0
HARM_AFTER_S = 35.0
LEAST_TRAFFIC_S = 60.0
HARMED, ALIKE = "harmed-late", "alike"
GUARDED = """
segments: [tenant]
guardrails:
  - {metric: error_rate, direction: lower, margin: {relative: 0.25}, alpha: 0.01, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, alpha: 0.01, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance, action: rollback}
"""


def spec_of(name: str) -> str:
    text = SPEC.replace("name: checkout,", f"name: {name},")
    return spec(GUARDED, text.replace("flag: checkout,", f"flag: {name}, controllers: [flagd],"))


# ---- traffic -------------------------------------------------------------------------------------


class Service(Sender):
    """Sends seeded traffic of both experiments by the flags of the moment."""

    def __init__(self, settings: Settings, flags: FlagReader) -> None:
        super().__init__(settings)
        self.flags = flags
        self.valid: set[Place] = set()
        self.not_for_the_judge: set[Place] = set()
        self.began_s = time.monotonic()

    def work(self) -> None:
        for number, simulated in enumerate(self._traffic().traces()):
            if self.ends_within(max(0.0, simulated.offset_s - (time.monotonic() - self.began_s))):
                return
            self._send(number, simulated.trace)

    def _traffic(self) -> Traffic:
        experiments = [parse_experiment(spec_of(name)) for name in (HARMED, ALIKE)]
        harm = Injected(Slows(2.0, Fails(0.4)), HARMED, HARM_AFTER_S)
        return Traffic(
            seed=SEED,
            arms=tuple(arms_of(one, assign=self._assign(one.name)) for one in experiments),
            harms=(harm,),
            starts_at=time.time_ns() // 1_000,
            rate_per_s=RATE_PER_S,
        )

    def _assign(self, experiment: str) -> Assign:
        return lambda unit_id: self.flags.assign(experiment, "current", unit_id)

    def _send(self, number: int, trace: dict[str, Any]) -> None:
        """One in fifty is cut off, one in seventy belongs to no experiment."""
        whole = number % 50 != 7 and number % 70 != 9
        value = encode_trace(trace if number % 70 != 9 else {**trace, "assignments": []}).value
        value = value[: -1 - number % 20] if number % 50 == 7 else value
        places = self.valid if whole else self.not_for_the_judge
        self.send(value, places.add, trace["trace_id"].encode())


# ---- kills ---------------------------------------------------------------------------------------


@dataclass
class Prey:
    """A role that is killed and started again, by whom a supervisor would."""

    installation: Installation
    name: str
    topic: str
    role: Role
    kills: int = 0
    gave_up: list[str] = field(default_factory=list)
    committed_at_start: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.committed_at_start = committed(self.installation.settings, self.name, self.topic)

    def wait_until_it_works(self) -> None:
        """It has committed something since it was started."""
        self.installation.wait(self._works)

    def _works(self) -> bool:
        self.supervise()
        return committed(self.installation.settings, self.name, self.topic) != self.committed_at_start

    def supervise(self) -> None:
        """What ended by itself is started again, and not forgotten."""
        if not self.role.running:
            self.gave_up.append(self.role.said[-2_000:])
            self._start()

    def kill(self) -> None:
        self.role.kill()
        self.kills += 1
        asyncio.run(forget_members(self.installation.settings, self.name))
        self._start()

    def _start(self) -> None:
        self.committed_at_start = committed(self.installation.settings, self.name, self.topic)
        self.role = self.installation.worker(self.name)


async def forget_members(settings: Settings, role: str) -> None:
    """Tells the group that its dead member has left, which the broker finds out by itself only after ten seconds."""
    group = group_of(settings, role)
    admin = AdminClient({"bootstrap.servers": settings.need_kafka()})
    described = admin.describe_consumer_groups([group])[group].result()
    client = AIOKafkaClient(bootstrap_servers=settings.need_kafka())
    await client.bootstrap()
    try:
        coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
        await client.ready(coordinator, group=ConnectionGroup.COORDINATION)
        for member in described.members:
            leaving = LeaveGroupRequest(group, member.member_id)
            await client.send(coordinator, leaving, group=ConnectionGroup.COORDINATION)
    finally:
        await client.close()


def hunted(prey: list[Prey], chance: random.Random) -> None:
    """In turn: once at work, and twice wherever it stands in starting, joining or restoring."""
    for number, one in zip(range(KILLS), itertools.cycle(prey), strict=False):
        if number % (3 * len(prey)) < len(prey):
            one.wait_until_it_works()
            time.sleep(chance.uniform(0, 2.5))
        else:
            time.sleep(chance.uniform(0, 3))
        one.kill()


# ---- the story -----------------------------------------------------------------------------------


@dataclass
class Aftermath:
    """What is left, and what had been sent."""

    installation: Installation
    service: Service
    flags: FlagReader
    kills: dict[str, int]
    gave_up: list[str]
    judged_up_to: dict[int, int]


@pytest.fixture(scope="module")
def aftermath(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    with installed(kafka, tmp_path_factory.mktemp("crashes"), log_level="WARNING") as installation:
        judge = Prey(installation, "judge", "ledger", installation.worker("judge"))
        installation.worker("registrar", "courier")
        installation.controller()
        for name in (HARMED, ALIKE):
            installation.ask("register", name, spec=spec_of(name))
            installation.ask("start", name, exposure=0.5)
        # Only now, so that it knows both experiments from its first trace on.
        intake = Prey(installation, "intake", "traces", installation.worker("intake"))
        installation.wait(installation.flag_file.exists)
        with closing(FlagReader(installation.flag_file)) as flags:
            installation.wait(lambda: all(flags.assign(name, "", "u").run == 1 for name in (HARMED, ALIKE)))
            service = Service(installation.settings, flags)
            service.start()
            hunted([judge, intake], random.Random(SEED))
            installation.wait(lambda: settled(installation, service, [judge, intake]), timeout_s=100)
            yield stopped(installation, service, flags, [judge, intake])


def settled(installation: Installation, service: Service, prey: list[Prey]) -> bool:
    """The harm was answered and obeyed, and the traffic was long enough."""
    for one in prey:
        one.supervise()
    entry = registry_of(installation.settings, HARMED)
    answered = entry is not None and entry.lifecycle == "rolled_back"
    return answered and time.monotonic() - service.began_s >= LEAST_TRAFFIC_S


def stopped(installation: Installation, service: Service, flags: FlagReader, prey: list[Prey]) -> Aftermath:
    """Traffic first, then everything that writes facts, once all of it is judged; the judge last."""
    settings = installation.settings
    service.end()
    ends = {p: messages(settings, "traces", p)[-1].offset() for p in range(settings.source_partitions)}
    installation.wait(lambda: supervised(prey) and at_least(committed(settings, "intake", "traces"), ends))
    ledger_ends = {p: messages(settings, "ledger", p)[-1].offset() for p in range(settings.ledger_partitions)}
    installation.wait(lambda: supervised(prey) and at_least(committed(settings, "judge", "ledger"), ledger_ends))
    judge = prey[0].role
    for role in installation.roles:
        if role.running and role is not judge:
            role.stop()
    judge.stop()
    return Aftermath(
        installation,
        service,
        flags,
        kills={one.name: one.kills for one in prey},
        gave_up=[words for one in prey for words in one.gave_up],
        judged_up_to=committed(settings, "judge", "ledger"),
    )


def supervised(prey: list[Prey]) -> bool:
    for one in prey:
        one.supervise()
    return True


def at_least(found: dict[int, int], last: dict[int, int | None]) -> bool:
    return all(found[partition] > (offset or 0) for partition, offset in last.items())


# ---- (a) the journal is the fold of the ledger as recorded ---------------------------------------


def test_the_journal_is_the_fold_of_the_ledger_as_recorded_on_another_kind_of_machine(aftermath: Aftermath) -> None:
    settings = aftermath.installation.settings
    published = hashes(settings)
    assert set(published) == {HARMED, ALIKE}
    assert folded_elsewhere(aftermath) == published


def hashes(settings: Settings) -> dict[str, list[str]]:
    """Of every journal entry that was published, in order."""
    found: dict[str, list[str]] = {}
    for message in messages(settings, "journal"):
        value = message.value() or b""
        found.setdefault(journal.decode(value).experiment, []).append(hashlib.sha256(value).hexdigest())
    return found


def folded_elsewhere(aftermath: Aftermath) -> dict[str, list[str]]:
    """By a new process with another hash seed, another number of threads, and without the CPU's newer instructions."""
    settings = aftermath.installation.settings
    numpy = importlib.import_module("numpy._core._multiarray_umath")
    newer = " ".join(feature for feature in numpy.__cpu_dispatch__ if numpy.__cpu_features__[feature])
    threads = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    told = {"bootstrap": settings.need_kafka(), "prefix": settings.topic_prefix, "up_to": aftermath.judged_up_to}
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_crashes", json.dumps(told)],
        env={**os.environ, **threads, "PYTHONHASHSEED": "12345", "NPY_DISABLE_CPU_FEATURES": newer},
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))


def fold_and_print(told: dict[str, Any]) -> None:
    """What the other process does."""
    settings = load(kafka=told["bootstrap"], topic_prefix=told["prefix"])
    folded: dict[str, list[str]] = {}
    for partition, up_to in told["up_to"].items():
        entries = [
            StoredEntry(int(partition), m.offset() or 0, m.timestamp()[1] * 1_000, m.value() or b"")
            for m in messages(settings, "ledger", int(partition))
            if (m.offset() or 0) < up_to
        ]
        for experiment, entries_of in replay(entries, int(partition), settings.topics("control")).items():
            folded[experiment] = [hashlib.sha256(value).hexdigest() for value in entries_of]
    print(json.dumps(folded))  # noqa: T201


# ---- (b) the evidence is every valid trace exactly once ------------------------------------------


@pytest.mark.parametrize("experiment", [HARMED, ALIKE])
def test_the_evidence_is_every_valid_trace_exactly_once(aftermath: Aftermath, experiment: str) -> None:
    counted = Counter(untrimmed(aftermath.installation.settings, experiment))
    assert set(counted) == aftermath.service.valid
    assert set(counted.values()) == {1}
    assert not set(counted) & aftermath.service.not_for_the_judge


# ---- (c) and (d) the states in which it ended ----------------------------------------------------


def test_the_harmed_experiment_was_rolled_back_once_and_the_other_still_runs(aftermath: Aftermath) -> None:
    settings = aftermath.installation.settings
    states = {name: registry_of(settings, name) for name in (HARMED, ALIKE)}
    assert {name: (s.lifecycle, s.exposure) for name, s in states.items() if s is not None} == {
        HARMED: ("rolled_back", 0.0),
        ALIKE: ("running", 0.5),
    }
    assert [str(command.action) for command in effective(aftermath, HARMED)] == ["set_exposure", "rollback"]
    assert [str(command.action) for command in effective(aftermath, ALIKE)] == ["set_exposure"]


def effective(aftermath: Aftermath, experiment: str) -> list[Command]:
    """Verified commands by place; where one was sent again, it was the same to the byte."""
    topic, verifier = aftermath.installation.settings.topics("control"), aftermath.installation.verifier
    by_place: dict[tuple[int, int], set[bytes]] = {}
    commands: list[Command] = []
    for message in messages(aftermath.installation.settings, "control"):
        command = read_command(message.value(), headers_of(message), topic, verifier)
        if command.experiment == experiment:
            same = by_place.setdefault((command.run, command.sequence), set())
            commands += [command] if not same else []
            same.add(message.value() or b"")
    assert all(len(same) == 1 for same in by_place.values())
    return commands


def test_the_controller_ended_in_the_desired_state(aftermath: Aftermath) -> None:
    flags = json.loads(aftermath.installation.flag_file.read_text())["flags"]
    for name in (HARMED, ALIKE):
        assert flags[name]["metadata"]["command_id"] == effective(aftermath, name)[-1].command_id
    arms = {name: {aftermath.flags.assign(name, "", f"u{n}").variant for n in range(50)} for name in (HARMED, ALIKE)}
    assert arms == {HARMED: {"current"}, ALIKE: {"current", "small"}}


def test_both_roles_were_killed_ten_times_and_none_gave_up_by_itself(aftermath: Aftermath) -> None:
    assert aftermath.kills == {"judge": KILLS // 2, "intake": KILLS // 2}
    assert aftermath.gave_up == []


if __name__ == "__main__":
    fold_and_print(json.loads(sys.argv[1]))

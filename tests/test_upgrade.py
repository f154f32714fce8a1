"""Rolling upgrade to the next version and back, on real Kafka, while traffic flows and stops latch (fault 26).

The next version is other code in other processes: a copy of this tree with higher versions of two rules and of itself,
and with one more optional field in what it writes into the ledger, into the journal and into snapshots. Worker by
worker it takes this one's place, and this one takes it back. Intake is replaced before the judge, which is the wrong
way round: so the judge of this version meets facts of the next one's schema, and later folds them once more, since it
cannot read the next one's snapshot.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, Producer

from stoploss import journal, ledger, measures
from stoploss.cli.stack import environment
from stoploss.commands import Command
from stoploss.control.messages import read_command
from stoploss.evidence import block_columns
from stoploss.flags import FlagReader
from stoploss.ledger import EvidenceBlock, JudgeVersion
from stoploss.settings import Settings
from streams import shared_schemas
from tests.installation import (
    Installation,
    Kafka,
    Role,
    committed,
    headers_of,
    installed,
    messages,
    registry_of,
    running_code,
    values,
)
from tests.timelines import SPEC, chain_holds

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

EARLY, LATE, STEADY = "stops-early", "stops-late", "goes-on"
TREE = Path(__file__).parents[1]
CARD = "4111 1111 1111 1111"
RATE_PER_S = 40.0
NEXT = "0.2.0"
Place = tuple[int, int]
"""Partition and offset of a trace."""


# ---- the next version ----------------------------------------------------------------------------


def next_version(tree: Path) -> Path:
    """A copy of the code, edited where a next version would be."""
    for part in ("src/stoploss", "streams", "schemas"):
        shutil.copytree(TREE / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    edit(tree / "src/stoploss/__init__.py", '__version__ = "', f'__version__ = "{NEXT}"  # "')
    for rule in ("gate", "sample_ratio"):
        edit(tree / f"src/stoploss/rules/{rule}.py", "version: int = field(default=", "version: int = field(default=1")
    for name, module in (("evidence_block", "ledger"), ("tick", "ledger"), ("journal_entry", "journal")):
        add_field(tree, name, module)
    state, last = tree / "src/stoploss/state.py", "    refusals: int = 0\n"
    edit(state, last, f'{last}    made_by: str = field(default="{NEXT}", metadata={{"since": "{NEXT}"}})\n')
    return tree


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


def add_field(tree: Path, name: str, module: str) -> None:
    """One more optional field at the end of a record and of its class, which says who wrote it."""
    path = tree / "schemas" / f"{name}.avsc"
    schema = json.loads(path.read_text())
    schema["fields"].append({"name": "made_by", "type": ["null", "string"], "default": None})
    path.write_text(json.dumps(schema))
    last = {
        "evidence_block": "    metrics: tuple[MetricColumn, ...]\n",
        "tick": "    partition: int\n    owner: str\n",
        "journal_entry": '    conclusion: Conclusion = field(metadata={"union": True})\n',
    }[name]
    edit(tree / f"src/stoploss/{module}.py", last, f'{last}    made_by: str | None = "{NEXT}"\n')


# ---- traffic -------------------------------------------------------------------------------------


@dataclass
class Service(threading.Thread):
    """Sends traces of those experiments that are exposed, by the flags of the moment; knows where each stands.

    leaking  an experiment whose next trace of the treatment holds a card number
    """

    settings: Settings
    flags: FlagReader
    sent: dict[str, dict[Place, str]] = field(default_factory=lambda: {name: {} for name in (EARLY, LATE, STEADY)})
    leaking: str | None = None
    fault: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(name="service", daemon=True)
        self._stopping = threading.Event()
        self._producer = Producer({"bootstrap.servers": self.settings.need_kafka(), "linger.ms": 5, "log_level": 0})

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        try:
            number = 0
            while not self._stopping.wait(1 / RATE_PER_S):
                number += 1
                for experiment in self.sent:
                    self._send(experiment, number)
        except BaseException as fault:
            self.fault = fault
            raise

    def _send(self, experiment: str, number: int) -> None:
        unit = f"user-{number % 500}"
        assigned = self.flags.assign(experiment, "current", unit)
        leaks = self.leaking == experiment and assigned.variant == "small"
        stamp = {"experiment": experiment, "variant": assigned.variant, "run": assigned.run, "epoch": assigned.epoch}
        trace: dict[str, Any] = {
            "trace_id": f"{experiment}-{number}",
            "at": time.time_ns() // 1_000,
            "unit_id": unit,
            "latency_ms": 700.0,
            "assignments": [stamp],
        }
        if leaks:
            self.leaking, trace["output_text"] = None, f"I have charged {CARD}."
        placed = self._placed(experiment, assigned.variant)
        self._producer.produce(self.settings.topics("traces"), json.dumps(trace).encode(), on_delivery=placed)
        self._producer.poll(0)

    def _placed(self, experiment: str, variant: str) -> Any:
        def placed(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            self.sent[experiment][message.partition() or 0, message.offset() or 0] = variant

        return placed

    def end(self) -> None:
        self._stopping.set()
        self.join(30)
        assert self._producer.flush(30) == 0
        assert self.fault is None


# ---- the story -----------------------------------------------------------------------------------


@dataclass
class Story:
    """What has happened, and what is left of it."""

    installation: Installation
    service: Service
    flags: FlagReader
    tree: Path
    workers: dict[str, Role] = field(default_factory=dict)
    judges: list[Role] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return self.installation.settings

    def replace(self, name: str, tree: Path | None) -> None:
        """One worker ends in order, one of another version begins in its place and works."""
        if name in self.workers:
            assert self.workers[name].stop() == 0
        role = self.workers[name] = self.installation.worker(*name.split("+"), code=tree)
        if name == "judge":
            self.judges.append(role)
        topic = {"judge": "ledger", "intake": "traces", "registrar+courier": "experiments"}[name]
        before = committed(self.settings, name.partition("+")[0], topic)
        if topic != "experiments":
            self.installation.wait(lambda: committed(self.settings, name, topic) != before)

    def harm(self, experiment: str) -> None:
        """One trace of the treatment leaks; the experiment is stopped, and its flag gives everybody control."""
        self.service.leaking = experiment
        self.installation.wait(lambda: self.lifecycle(experiment) == "stopped")
        everybody = [f"user-{n}" for n in range(50)]
        self.installation.wait(
            lambda: {self.flags.assign(experiment, "", unit).variant for unit in everybody} == {"current"}
        )

    def lifecycle(self, experiment: str) -> str:
        entry = registry_of(self.settings, experiment)
        return entry.lifecycle if entry is not None else ""

    def at_rest(self) -> None:
        """Traffic first; then everything, once all of it is judged."""
        self.service.end()
        for role, topic, partitions in (("intake", "traces", 2), ("judge", "ledger", 2)):
            ends = {p: messages(self.settings, topic, p)[-1].offset() or 0 for p in range(partitions)}
            self.installation.wait(partial(self.has_done, role, topic, ends))
        self.installation.stop()

    def has_done(self, role: str, topic: str, ends: dict[int, int]) -> bool:
        found = committed(self.settings, role, topic)
        return all(found[partition] > end for partition, end in ends.items())


@pytest.fixture(scope="module")
def story(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("upgrade")
    with installed(kafka, home, log_level="WARNING", canary_every_ms=1_000) as installation:
        shared_schemas.learn(installation.settings)  # whoever looks is of this version
        tree = next_version(home / "next")
        installation.controller()
        early = {name: installation.worker(*name.split("+")) for name in ("judge", "registrar+courier")}
        for name in (EARLY, LATE, STEADY):
            installation.ask("register", name, spec=spec_of(name))
            installation.ask("start", name, exposure=0.5)
        # Only now, so that it knows the experiments from its first trace on.
        early["intake"] = installation.worker("intake")
        installation.wait(installation.flag_file.exists)
        with closing(FlagReader(installation.flag_file)) as flags:
            installation.wait(lambda: all(flags.assign(name, "", "u").run == 1 for name in (EARLY, LATE, STEADY)))
            service = Service(installation.settings, flags)
            story = Story(installation, service, flags, tree, early, [early["judge"]])
            happened(story)
            yield story


def spec_of(name: str) -> str:
    text = SPEC.replace("name: checkout,", f"name: {name},")
    return text.replace("flag: checkout,", f"flag: {name}, controllers: [flagd],")


def happened(story: Story) -> None:
    story.service.start()
    story.harm(EARLY)
    for name in ("intake", "judge", "registrar+courier"):
        story.replace(name, story.tree)
    story.harm(LATE)
    for name in ("judge", "registrar+courier", "intake"):
        story.replace(name, None)
    story.at_rest()


# ---- nothing is lost, nothing is doubled ---------------------------------------------------------


@pytest.mark.parametrize("experiment", [EARLY, LATE, STEADY])
def test_the_evidence_is_every_trace_exactly_once(story: Story, experiment: str) -> None:
    counted = Counter(untrimmed(story.settings, experiment))
    assert set(counted) == set(story.service.sent[experiment])
    assert set(counted.values()) == {1}


def untrimmed(settings: Settings, experiment: str) -> Iterator[Place]:
    """The watermark rule by hand: of each source, what lies beyond all that an earlier block had."""
    highest: dict[str, int] = {}
    for value in values(settings, "ledger"):
        block = ledger.decode(value)
        if not isinstance(block, EvidenceBlock) or block.experiment != experiment:
            continue
        columns = block_columns(block)
        before = dict(highest)
        for code, offset in zip(columns.source.tolist(), columns.offset.tolist(), strict=True):
            source = block.sources[code]
            if offset > before.get(source.key, -1):
                yield source.partition, offset
                highest[source.key] = max(offset, highest.get(source.key, -1))


def test_no_run_is_forgotten_and_what_was_stopped_by_either_version_stays_stopped(story: Story) -> None:
    entries = {name: registry_of(story.settings, name) for name in (EARLY, LATE, STEADY)}
    assert {name: (e.lifecycle, e.run, e.exposure) for name, e in entries.items() if e is not None} == {
        EARLY: ("stopped", 1, 0.0),
        LATE: ("stopped", 1, 0.0),
        STEADY: ("running", 1, 0.5),
    }


def test_the_judge_of_this_version_counts_what_an_independent_reader_counts(story: Story) -> None:
    """Its state went through the other version's hands, and it has folded what that one wrote."""
    last = [m for m in map(measures.decode, values(story.settings, "measures")) if m.experiment == STEADY][-1]
    told = {arm.variant: arm.n for arm in last.arms if arm.metric == "latency_ms" and arm.segment is None}
    up_to = {
        place: story.service.sent[STEADY][place]
        for place in placed_before(story.settings, STEADY, last.ledger_partition, last.ledger_offset)
    }
    assert told == Counter(up_to.values())
    assert min(told.values()) > 100


def placed_before(settings: Settings, experiment: str, partition: int, offset: int) -> Iterator[Place]:
    for message in messages(settings, "ledger", partition):
        block = ledger.decode(message.value())
        if (message.offset() or 0) <= offset and isinstance(block, EvidenceBlock) and block.experiment == experiment:
            columns = block_columns(block)
            for code, at in zip(columns.source.tolist(), columns.offset.tolist(), strict=True):
                yield block.sources[code].partition, at


@pytest.mark.parametrize(
    ("experiment", "actions"),
    [(EARLY, ["set_exposure", "stop"]), (LATE, ["set_exposure", "stop"]), (STEADY, ["set_exposure"])],
)
def test_every_command_was_issued_once(story: Story, experiment: str, actions: list[str]) -> None:
    issued = {(c.run, c.sequence): c for c in commands(story) if c.experiment == experiment}
    assert [str(command.action) for command in issued.values()] == actions
    assert len({c.command_id for c in commands(story) if c.experiment == experiment}) == len(actions)


def commands(story: Story) -> list[Command]:
    topic, verifier = story.settings.topics("control"), story.installation.verifier
    return [read_command(m.value(), headers_of(m), topic, verifier) for m in messages(story.settings, "control")]


def test_each_journal_is_one_chain_through_all_three_spans(story: Story) -> None:
    by_experiment: dict[str, list[bytes]] = {}
    for value in values(story.settings, "journal"):
        by_experiment.setdefault(journal.decode(value).experiment, []).append(value)
    assert set(by_experiment) == {EARLY, LATE, STEADY}
    assert all(chain_holds(entries) for entries in by_experiment.values())


def test_no_fact_was_a_dead_letter(story: Story) -> None:
    assert values(story.settings, "deadletter") == []


# ---- who judged what -----------------------------------------------------------------------------


def test_the_ledger_says_which_version_judged_which_span(story: Story) -> None:
    for partition in range(2):
        facts = [ledger.decode(value) for value in values(story.settings, "ledger", partition)]
        versions = [fact.stoploss for fact in facts if isinstance(fact, JudgeVersion)]
        assert [v for n, v in enumerate(versions) if n == 0 or versions[n - 1] != v] == ["0.1.0", NEXT, "0.1.0"]


def test_the_older_judge_passes_the_newer_ones_snapshot_over_says_why_and_folds_the_ledger(story: Story) -> None:
    said = story.judges[-1].said
    assert "snapshot passed over" in said
    assert "ExperimentState has made_by: a newer version has made it; fold the ledger instead" in said
    assert "another version judged this in other words; its journal is gone on with" in said


def test_the_newer_judge_goes_on_from_the_older_ones_snapshot(story: Story) -> None:
    assert "snapshot passed over" not in story.judges[1].said
    assert "another version judged this" not in story.judges[1].said


@pytest.mark.parametrize("code", ["this", "next"])
def test_replay_says_which_version_reproduces_what(story: Story, code: str) -> None:
    done = replayed(story, LATE, story.tree if code == "next" else None)
    spans = done["spans"]
    assert [span["version"]["stoploss"] for span in spans] == ["0.1.0", NEXT, "0.1.0"]
    assert [span["mine"] for span in spans] == [code == "this", code == "next", code == "this"]
    assert done["holds"]
    assert spans[0]["outcome"] == ("reproduced" if code == "this" else "differs")


def replayed(story: Story, experiment: str, tree: Path | None) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "stoploss", "replay", experiment, "--json"],
        env={**os.environ, **environment(story.settings), **running_code(tree)},
        cwd=tree or TREE,
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))

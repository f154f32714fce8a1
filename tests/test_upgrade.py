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
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stoploss import journal, ledger, measures
from stoploss.cli.stack import environment
from stoploss.commands import Command
from stoploss.control.messages import read_command
from stoploss.evidence import block_columns
from stoploss.flags import FlagReader
from stoploss.ledger import EvidenceBlock, JudgeVersion
from stoploss.settings import Settings
from streams import shared_schemas
from tests.installation import Kafka, headers_of, installed, messages, registry_of, running_code, values
from tests.sending import Place, untrimmed
from tests.timelines import chain_holds
from tests.upgrade.next_version import NEXT, TREE, next_version
from tests.upgrade.story import EARLY, LATE, STEADY, Service, Story, happened, spec_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]


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


# ---- nothing is lost, nothing is doubled ---------------------------------------------------------


@pytest.mark.parametrize("experiment", [EARLY, LATE, STEADY])
def test_the_evidence_is_every_trace_exactly_once(story: Story, experiment: str) -> None:
    counted = Counter(untrimmed(story.settings, experiment))
    assert set(counted) == set(story.service.sent[experiment])
    assert set(counted.values()) == {1}


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

"""V3: an incident in a folder, which replays on a machine that knows nothing of the installation."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stoploss import journal
from stoploss.archive import read_archive
from stoploss.incidents.subject import subject
from tests.cli.conftest import Program
from tests.incidents import world
from tests.incidents.conftest import Incident


@pytest.fixture
def pack(asked: Program, recorded: Incident, tmp_path: Path) -> Path:
    """Packed once, and a copy of it for each test."""
    made = recorded.home / "pack"
    if not made.exists():
        ended = asked("incident", recorded.command_id[:12], "-o", made, "--key", recorded.keys.public)
        assert ended.code == 0, ended.err
    return shutil.copytree(made, tmp_path / "pack")


@pytest.fixture
def bare(pack: Path, asked: Program) -> Program:
    """A machine that knows nothing of the installation; the pack was made before."""
    return asked.set(kafka="127.0.0.1:1", clickhouse_url="http://127.0.0.1:1")


def elsewhere(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh process in the folder, with an empty home and no setting of any installation."""
    home = folder.parent / "empty"
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "stoploss", *arguments]
    bare = {"HOME": str(home), "PATH": ""}
    return subprocess.run(command, cwd=folder, env=bare, capture_output=True, text=True, timeout=120, check=False)


def test_a_pack_replays_elsewhere_with_the_one_command_that_stands_in_it(pack: Path, recorded: Incident) -> None:
    """V3: no Kafka, no ClickHouse, an empty home."""
    (command,) = [line.strip() for line in (pack / "README.md").read_text().splitlines() if line.startswith("    ")]
    ended = elsewhere(pack, *command.split()[1:])
    assert (ended.returncode, ended.stderr) == (0, "")
    entries = len(read_archive(pack).journal)
    assert ended.stdout.startswith(f"checkout: {entries} journal entries replayed from ")
    assert "identical byte for byte" in ended.stdout


def test_a_pack_is_verified_with_nothing_but_the_public_key(bare: Program, pack: Path, recorded: Incident) -> None:
    ended = bare("verify", pack, "--key", recorded.keys.public)
    assert ended.code == 0, ended.out + ended.err
    assert "journal entries are linked without a gap" in ended.out


def test_a_pack_ends_where_the_incident_ends(pack: Path, recorded: Incident) -> None:
    """The resume that came later is no part of it, nor what was exposed then."""
    archive = read_archive(pack)
    told = [journal.decode(value) for value in archive.journal]
    assert told[-1].ledger_offset == subject(recorded.client, recorded.command_id).end.ledger_offset
    assert {entry.run for entry in told} == {0, 1}
    assert len(archive.commands) == 2 < len(recorded.story.commands)
    assert max(entry.offset for entry in archive.ledger) == told[-1].ledger_offset
    assert archive.manifest.incident is not None
    assert (archive.manifest.incident.command_id, archive.manifest.incident.run) == (recorded.command_id, 1)


def test_the_traces_in_a_pack_are_those_that_showed_harm_masked_and_without_their_user(
    pack: Path, recorded: Incident
) -> None:
    leaking = [f"t-{offset}" for offset in world.leaking_offsets(recorded.story)]
    traces = [json.loads(line) for line in (pack / "traces.jsonl").read_text().splitlines()]
    assert [trace["trace_id"] for trace in traces] == leaking
    assert {trace["input_text"] for trace in traces} == {"What is the card of [masked:email]?"}
    assert "user-7" not in "".join(path.read_text() for path in pack.glob("*.*") if path.suffix != ".arrow")
    evidence = [json.loads(line) for line in (pack / "evidence.jsonl").read_text().splitlines()]
    assert [line["trace_id"] for line in evidence] == leaking
    assert {line["why"] for line in evidence} == {"it tripped pii_exposed: output_text holds a card number"}


def test_a_pack_holds_the_spec_and_the_versions(pack: Path, recorded: Incident) -> None:
    assert (pack / "spec.yaml").read_text() == recorded.story.spec_text
    assert json.loads((pack / "versions.json").read_text())["packed_by"].keys() >= {"stoploss", "numpy", "rules"}


def test_every_file_of_a_pack_has_its_sum(pack: Path) -> None:
    manifest = json.loads((pack / "manifest.json").read_text())
    sums = {part["name"]: part["sha256"] for part in (*manifest["parts"], *manifest["incident"]["files"])}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pack.iterdir()}
    beside = {name: found.pop(name) for name in ("manifest.json", "manifest.json.sha256")}
    assert found == sums
    assert (pack / "manifest.json.sha256").read_text() == f"{beside['manifest.json']}  manifest.json\n"


@pytest.mark.parametrize("name", ["traces.jsonl", "README.md", "ledger-0001.arrow", "manifest.json"])
def test_a_file_that_was_changed_is_named_and_nothing_is_replayed(bare: Program, pack: Path, name: str) -> None:
    (pack / name).write_bytes((pack / name).read_bytes() + b"\n")
    ended = bare("replay", pack)
    assert ended.code == 1
    assert f"{name} is damaged: expected" in ended.sentence


def test_a_file_that_was_added_is_named(bare: Program, pack: Path) -> None:
    (pack / "more.txt").write_text("hello")
    ended = bare("replay", pack)
    assert ended.code == 1
    assert "knows nothing of more.txt" in ended.sentence


def test_a_folder_that_is_in_use_is_left_as_it_is(asked: Program, recorded: Incident, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    ended = asked("incident", recorded.command_id, "-o", tmp_path / "mine", "--key", recorded.keys.public)
    assert ended.code == 1
    assert "stands there already" in ended.sentence
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter"]


@pytest.mark.parametrize(
    ("what", "said"),
    [("abc", "is no command id"), ("f" * 12, "no recorded journal has a command"), ("checkout", "is no command id")],
)
def test_what_is_no_command_is_refused_in_a_sentence(asked: Program, recorded: Incident, what: str, said: str) -> None:
    ended = asked("incident", what, "-o", "x", "--key", recorded.keys.public)
    assert ended.code == 1
    assert said in ended.sentence

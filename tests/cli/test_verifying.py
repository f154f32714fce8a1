"""G9, V3: `verify` from the store and from a file, `archive`, and what an auditor does with nothing but the file."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from stoploss import journal
from stoploss.archive import read_archive
from stoploss.control.keys import create_keys
from stoploss.replay import replay
from stoploss.settings import Settings
from stoploss.store import inserts, replay_reads
from stoploss.store.client import connect
from stoploss.store.stored import Stored
from tests.cli.conftest import Program
from tests.installation import Installation, messages, registry_of

SPEC = Path(__file__).parents[2] / "examples" / "demo" / "answer-style-aa.yaml"
NAME, SPOILT = "to-be-verified", "to-be-spoilt"


def client_of(settings: Settings) -> Client:
    return connect(settings.need_clickhouse(), database=settings.clickhouse_database)


def stopped(live: Program, installation: Installation, directory: Path, name: str) -> str:
    """An experiment with a short life, all of which the recorder has stored."""
    if registry_of(installation.settings, name) is None:
        spec = directory / "spec.yaml"
        spec.write_text(SPEC.read_text().replace("answer-style-aa", name))
        for arguments in (["register", str(spec)], ["start", name], ["stop", name]):
            assert live(*arguments).code == 0
    installation.wait(lambda: is_recorded(installation.settings, name))
    return name


def is_recorded(settings: Settings, name: str) -> bool:
    """Journal and checkpoints as they stand on the topics, and the ledger up to the last entry."""
    client = client_of(settings)
    try:
        for topic in ("journal", "checkpoints"):
            published = sum(message.key() == name.encode() for message in messages(settings, topic))
            count = f"SELECT count() FROM {topic}_v WHERE experiment = {{name:String}}"
            if client.query(count, parameters={"name": name}).result_rows != [(published,)]:
                return False
        last = journal.decode([record.value for record in replay_reads.read_journal(client, name)][-1])
        return replay_reads.ledger_entry(client, last.ledger_partition, last.ledger_offset) is not None
    finally:
        client.close()


@pytest.fixture
def experiment(live: Program, installation: Installation, tmp_path: Path) -> str:
    return stopped(live, installation, tmp_path, NAME)


@pytest.fixture
def file(live: Program, experiment: str, tmp_path: Path) -> Path:
    path = tmp_path / "evidence.tar"
    assert live("archive", experiment, "-o", path).code == 0
    return path


def elsewhere(stoploss: Program) -> Program:
    """A machine that knows nothing of the installation."""
    return stoploss.set(kafka="127.0.0.1:1", clickhouse_url="http://127.0.0.1:1", home="nowhere")


def key_of(installation: Installation) -> Path:
    return installation.settings.keys / "monitor.pub"


def entries_of(installation: Installation, experiment: str) -> int:
    return sum(message.key() == experiment.encode() for message in messages(installation.settings, "journal"))


def test_a_journal_is_verified_from_the_store(live: Program, installation: Installation, experiment: str) -> None:
    before = entries_of(installation, experiment)
    installation.wait(lambda: is_recorded(installation.settings, experiment))
    ended = live("verify", experiment, "--key", key_of(installation))
    assert (ended.code, ended.err) == (0, "")
    found = re.match(rf"{experiment}: (\d+) journal entries are linked without a gap, from 20", ended.out)
    assert found is not None
    assert before <= int(found[1]) <= entries_of(installation, experiment)
    assert f"signed by key {installation.keys.signer.key_id}; the last covers entry " in ended.out
    assert "this would not show it" in ended.out


def test_without_a_key_the_installations_own_is_used(live: Program, experiment: str) -> None:
    assert live("verify", experiment).code == 0


def test_an_auditor_verifies_a_file_with_nothing_but_the_public_key(
    live: Program, installation: Installation, experiment: str, file: Path
) -> None:
    from_store = json.loads(live("verify", experiment, "--json").out)
    ended = elsewhere(live)("verify", file, "--key", key_of(installation), "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == from_store
    assert from_store["fault"] is None


def test_an_archive_of_a_running_installation_replays_byte_for_byte(file: Path) -> None:
    """V3"""
    archive = read_archive(file)
    replayed = replay(archive.ledger, archive.manifest.ledger_partition, archive.manifest.control_topic)
    assert replayed == {NAME: list(archive.journal)}
    assert len(archive.commands) == 2


def test_the_key_in_an_archive_is_the_installations(file: Path, installation: Installation) -> None:
    public_keys = read_archive(file).manifest.public_keys
    assert public_keys == {installation.keys.signer.key_id: key_of(installation).read_text()}


def test_without_a_public_key_a_file_is_not_verified(live: Program, file: Path) -> None:
    """The key inside the file would say nothing: who forges the one forges the other."""
    ended = elsewhere(live)("verify", file)
    assert ended.code == 1
    assert "no public key: give the installation's with --key FILE" in ended.sentence


def test_with_another_key_a_file_is_not_verified(live: Program, file: Path, tmp_path: Path) -> None:
    ended = elsewhere(live)("verify", file, "--key", create_keys(tmp_path / "other").public)
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith(f"{NAME}: NOT VERIFIED. checkpoint 1 of ")
    assert "is not trusted here" in ended.out


def test_a_damaged_file_is_refused_with_the_part(live: Program, installation: Installation, file: Path) -> None:
    with tarfile.open(file) as tar:
        member = tar.getmember("journal-0001.arrow")
    damaged = bytearray(file.read_bytes())
    damaged[member.offset_data + member.size // 2] ^= 1
    file.write_bytes(damaged)
    ended = live("verify", file, "--key", key_of(installation))
    assert ended.code == 1
    assert "part journal-0001.arrow is damaged: expected sha256" in ended.sentence


def test_an_entry_that_somebody_added_to_the_store_is_found(
    live: Program, installation: Installation, tmp_path: Path
) -> None:
    name = stopped(live, installation, tmp_path, SPOILT)
    client = client_of(installation.settings)
    *_, last = (record.value for record in replay_reads.read_journal(client, name))
    (batch,) = inserts.encode("journal", [Stored("journal", "forged", 0, 0, 0, name.encode(), last)])
    inserts.insert(client, [batch])
    number = journal.decode(last).number
    ended = live("verify", name)
    assert ended.code == 1
    assert ended.out.startswith(f"{name}: NOT VERIFIED. entry {number + 1}, number: expected {number + 1} ")


@pytest.mark.parametrize("command", [["verify", "nobody"], ["archive", "nobody", "-o", "nobody.tar"]])
def test_an_experiment_without_a_journal_is_refused_by_name(live: Program, command: list[str]) -> None:
    ended = live(*command)
    assert ended.code == 1
    assert "'nobody'" in ended.sentence
    assert not Path("nobody.tar").exists()

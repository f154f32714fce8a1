"""V3: one experiment in one file, which replays elsewhere; damage of any kind is refused with the part's name."""

from __future__ import annotations

import io
import tarfile
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import fastavro
import polars as pl
import pytest

from stoploss import journal, ledger
from stoploss.archive import Archive, parts, read_archive
from stoploss.archive.manifest import MANIFEST, sum_line
from stoploss.archive.writing import Contents, is_needed, write_archive
from stoploss.canary import canary_of
from stoploss.checkpoints import SignedValue
from stoploss.commands import Command, Micros
from stoploss.control.keys import KeyPair, create_keys
from stoploss.errors import ArchiveUnreadable
from stoploss.ledger import AckReceived, Entry, EvidenceBlock, Fact, Request, SourceStatus, Tick
from stoploss.monitor import step
from stoploss.outputs import CommandOutput, JournalOutput
from stoploss.replay import StoredEntry, replay
from stoploss.signing import Signer, Verifier
from stoploss.state import PartitionState
from stoploss.verification import verify
from stoploss.wire import records, schemas
from tests.evidence import signed, story

TOPIC = "stoploss.control"


@dataclass
class Partition:
    """A ledger partition on which two experiments were judged together, each command applied at once."""

    entries: list[StoredEntry]
    journals: dict[str, list[bytes]]
    commands: dict[str, list[Command]]


def judged(facts: Iterable[tuple[Micros, Fact]]) -> Partition:
    state, partition = PartitionState(0), Partition([], {}, {})
    waiting = deque(facts)
    while waiting:
        at, fact = waiting.popleft()
        offset = len(partition.entries)
        partition.entries.append(StoredEntry(0, offset, at, ledger.encode(fact)))
        for output in step(state, Entry(0, offset, at, fact), TOPIC):
            if isinstance(output, JournalOutput):
                partition.journals.setdefault(output.experiment, []).append(output.value)
            elif isinstance(output, CommandOutput):
                partition.commands.setdefault(output.experiment, []).append(output.command)
                waiting.appendleft((at, ack_of(output.command, at)))
    return partition


def ack_of(command: Command, at: Micros) -> AckReceived:
    return AckReceived(
        command.experiment, command.command_id, "flagd", "one", "applied", "", at, command.run, command.sequence, "s"
    )


@pytest.fixture(scope="module")
def partition() -> Partition:
    """Two stories at the same time, and one clock for both; the acks are those of the commands that come of it."""
    without_clock = [entry for entry in story().entries if not isinstance(entry.fact, Tick | SourceStatus)]
    both = [*story("other", seed=5).entries, *without_clock]
    entries = [entry for entry in both if not isinstance(entry.fact, AckReceived)]
    return judged(sorted(((entry.at, entry.fact) for entry in entries), key=lambda told: told[0]))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return create_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signer(keys: KeyPair) -> Signer:
    return Signer.load(keys.private)


@pytest.fixture(scope="module")
def contents(partition: Partition, signer: Signer) -> Contents:
    commands = [records.encode("command", command) for command in partition.commands["checkout"]]
    return Contents(
        experiment="checkout",
        ledger_partition=0,
        control_topic=TOPIC,
        public_keys={signer.key_id: "-----BEGIN PUBLIC KEY-----\n"},
        ledger=partition.entries,
        journal=partition.journals["checkout"],
        commands=[SignedValue(value, signer.sign(value)) for value in commands],
        checkpoints=signed(partition.journals["checkout"], signer),
    )


@pytest.fixture(scope="module")
def path(contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "checkout.tar"
    write_archive(path, contents)
    return path


@pytest.fixture(scope="module")
def archive(path: Path) -> Archive:
    return read_archive(path)


# ---- whole -----------------------------------------------------------------------------------------


def test_an_archive_gives_back_what_was_put_in(archive: Archive, contents: Contents) -> None:
    assert list(archive.journal) == contents.journal
    assert list(archive.commands) == contents.commands
    assert list(archive.checkpoints) == contents.checkpoints
    assert (archive.manifest.experiment, archive.manifest.control_topic) == ("checkout", TOPIC)
    assert archive.manifest.public_keys == contents.public_keys


def test_an_archive_replays_byte_for_byte_though_another_experiment_stood_on_its_partition(archive: Archive) -> None:
    """V2"""
    replayed = replay(archive.ledger, archive.manifest.ledger_partition, archive.manifest.control_topic)
    assert replayed == {"checkout": list(archive.journal)}


def test_one_tick_led_to_conclusions_about_both_experiments(partition: Partition) -> None:
    """Or the test above would not show that no id depends on a neighbour."""
    places = [{journal.decode(value).ledger_offset for value in values} for values in partition.journals.values()]
    assert set.intersection(*places)


def test_an_archive_holds_no_row_and_no_request_of_another_experiment(archive: Archive, partition: Partition) -> None:
    def told(entries: Iterable[StoredEntry]) -> set[str]:
        facts = [ledger.decode(entry.value) for entry in entries]
        return {fact.experiment for fact in facts if isinstance(fact, EvidenceBlock | Request | AckReceived)}

    assert (told(partition.entries), told(archive.ledger)) == ({"checkout", "other"}, {"checkout"})


@pytest.mark.parametrize(("told", "needed"), [("checkout", True), ("other", False), (canary_of(0), True), ("", True)])
def test_what_all_of_the_partition_hear_is_needed_and_what_one_other_is_told_is_not(
    partition: Partition, told: str, needed: bool
) -> None:
    facts = [ledger.decode(entry.value) for entry in partition.entries]
    for fact in (next(f for f in facts if isinstance(f, kind)) for kind in (EvidenceBlock, AckReceived)):
        assert is_needed(ledger.encode(replace(fact, experiment=told)), "checkout") == needed


def test_ledger_entries_keep_their_place_and_are_read_as_often_as_wanted(
    archive: Archive, partition: Partition
) -> None:
    first, again = list(archive.ledger), list(archive.ledger)
    assert first == again
    assert len(first) == len(archive.ledger) == archive.manifest.rows("ledger")
    assert [partition.entries[entry.offset] for entry in first] == first


def test_what_was_archived_is_verified_from_the_file(archive: Archive, keys: KeyPair) -> None:
    """G9"""
    verifier = Verifier.load(keys.public)
    found = verify(archive.manifest.experiment, archive.journal, archive.checkpoints, verifier)
    assert (found.fault, found.entries) == (None, len(archive.journal))


def test_an_entry_that_nobody_can_read_is_archived_too(contents: Contents, tmp_path: Path) -> None:
    broken = StoredEntry(0, 10**6, 7, b"no fact at all")
    write_archive(tmp_path / "a", replace(contents, ledger=[*contents.ledger, broken]))
    assert list(read_archive(tmp_path / "a").ledger)[-1] == broken


def test_the_same_evidence_gives_the_same_file(contents: Contents, path: Path, tmp_path: Path) -> None:
    write_archive(tmp_path / "again.tar", contents)
    assert (tmp_path / "again.tar").read_bytes() == path.read_bytes()


def test_a_long_ledger_is_cut_into_parts(
    contents: Contents, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MOST_ROWS", 7)
    manifest = write_archive(tmp_path / "cut.tar", contents)
    assert len(manifest.of("ledger")) == -(-len(archive.ledger) // 7)
    assert list(read_archive(tmp_path / "cut.tar").ledger) == list(archive.ledger)


def test_the_file_is_read_without_stoploss(path: Path, archive: Archive) -> None:
    """tar, Arrow and Avro are all it takes: the schemas of all values are in the manifest."""
    with tarfile.open(path) as tar:
        part = tar.extractfile("journal-0001.arrow")
        assert part is not None
        values = pl.read_ipc_stream(io.BytesIO(part.read())).get_column("value").to_list()
    for value in values:
        avro = archive.manifest.schemas[value[2:10].hex()].avro
        read = fastavro.schemaless_reader(io.BytesIO(value[10:]), fastavro.parse_schema(avro))
        assert read["entry_id"] == journal.decode(value).entry_id
    written = {schema.name for schema in archive.manifest.schemas.values()}
    assert {"journal_entry", "evidence_block", "request", "tick", "command", "checkpoint"} <= written


def test_the_manifest_names_the_version_of_each_schema(archive: Archive) -> None:
    for mark, schema in archive.manifest.schemas.items():
        assert schemas.landed()[schema.name][schema.version - 1].fingerprint.hex() == mark


# ---- damaged ---------------------------------------------------------------------------------------


def test_any_byte_changed_is_refused_or_changes_nothing(path: Path, archive: Archive, tmp_path: Path) -> None:
    """What changes nothing is the padding of tar: everything else is in a sum."""
    whole, damaged = path.read_bytes(), tmp_path / "damaged.tar"
    refused = 0
    for place in range(0, len(whole), 101):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            assert same(read_archive(damaged), archive)
        except ArchiveUnreadable as error:
            refused += str(damaged) in str(error)
    content = sum(part.size_bytes for part in archive.manifest.parts)
    assert refused > content // 101


def same(one: Archive, other: Archive) -> bool:
    return (one.manifest, one.journal, one.commands, one.checkpoints) == (
        other.manifest,
        other.journal,
        other.commands,
        other.checkpoints,
    ) and list(one.ledger) == list(other.ledger)


def test_a_file_that_was_cut_off_anywhere_is_refused(path: Path, archive: Archive, tmp_path: Path) -> None:
    """Up to the last byte of the last part; behind it tar has zeros only."""
    whole, cut = path.read_bytes(), tmp_path / "cut.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    for length in [*range(0, last.offset_data + last.size, 997), last.offset_data + last.size - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(ArchiveUnreadable, match=r"cut\.tar"):
            read_archive(cut)


def rewritten(path: Path, to: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The same members with a change among them."""
    with tarfile.open(path) as tar:
        members = {member.name: (tar.extractfile(member) or io.BytesIO()).read() for member in tar}
    change(members)
    with tarfile.open(to, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return to


def test_a_damaged_part_is_named_with_both_sums(path: Path, archive: Archive, tmp_path: Path) -> None:
    def damage(members: dict[str, bytes]) -> None:
        members["journal-0001.arrow"] = members["journal-0001.arrow"][:-1] + b"!"

    (part,) = archive.manifest.of("journal")
    expected = rf"part journal-0001\.arrow is damaged: expected sha256 {part.sha256} .*found (?!{part.sha256})[0-9a-f]+"
    with pytest.raises(ArchiveUnreadable, match=expected):
        read_archive(rewritten(path, tmp_path / "a", damage))


def test_a_missing_part_is_named_with_its_sum(path: Path, archive: Archive, tmp_path: Path) -> None:
    (part,) = archive.manifest.of("checkpoints")
    with pytest.raises(ArchiveUnreadable, match=rf"checkpoints-0001\.arrow is missing: .*{part.sha256}"):
        read_archive(rewritten(path, tmp_path / "a", lambda members: members.__delitem__("checkpoints-0001.arrow")))


def test_a_part_that_was_added_is_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnreadable, match=r"knows nothing of journal-0002\.arrow"):
        read_archive(rewritten(path, tmp_path / "a", lambda members: members.update({"journal-0002.arrow": b""})))


def test_a_manifest_that_was_changed_is_refused(path: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[MANIFEST] = members[MANIFEST].replace(b'"checkout"', b'"kitchens"')

    with pytest.raises(ArchiveUnreadable, match=r"manifest\.json is damaged: expected .*, found "):
        read_archive(rewritten(path, tmp_path / "a", change))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b"stoploss-archive/1", b"stoploss-archive/2", "format"),
        (b'"ledger_partition": 0', b'"ledger_partition": "x"', "ledger_partition"),
        (b'"name": "journal-0001.arrow"', b'"name": "../../etc/passwd"', "parts.1.name"),
        (b"{", b"[", "the whole"),
    ],
)
def test_a_manifest_of_another_format_is_refused_with_the_field(
    path: Path, tmp_path: Path, before: bytes, after: bytes, said: str
) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[MANIFEST] = members[MANIFEST].replace(before, after, 1)
        members[f"{MANIFEST}.sha256"] = sum_line(members[MANIFEST])

    with pytest.raises(ArchiveUnreadable, match=rf"none that this version reads \({said}"):
        read_archive(rewritten(path, tmp_path / "a", change))


def test_a_part_of_another_shape_is_refused_though_its_sum_is_right(path: Path, archive: Archive) -> None:
    (part,) = archive.manifest.of("journal")
    out = io.BytesIO()
    pl.DataFrame({"value": ["text"]}).write_ipc_stream(out)
    for data, said in ((out.getvalue(), "expected .* rows of value Binary, found 1"), (b"no stream", "no Arrow IPC")):
        with pytest.raises(ArchiveUnreadable, match=said):
            list(parts.rows_of(part, data))


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(10_240)])
def test_a_file_that_is_no_archive_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "letter.txt").write_bytes(content)
    with pytest.raises(ArchiveUnreadable, match=r"letter\.txt"):
        read_archive(tmp_path / "letter.txt")


def test_a_link_in_an_archive_leads_nowhere(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "linked.tar"
    copy.write_bytes(path.read_bytes())
    with tarfile.open(copy, "a") as tar:
        link = tarfile.TarInfo("ledger-0002.arrow")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ArchiveUnreadable, match=r"'ledger-0002\.arrow' is no plain file"):
        read_archive(copy)


def test_an_archive_that_cannot_be_written_leaves_nothing_behind(contents: Contents, tmp_path: Path) -> None:
    def breaks_off() -> Iterable[StoredEntry]:
        yield from list(contents.ledger)[:3]
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_archive(tmp_path / "a", replace(contents, ledger=breaks_off()))
    assert list(tmp_path.iterdir()) == []

"""The independent verifier: reads what the sender wrote down and what stands on the topics, and compares.

    python -m tests.faults.verifier '{"bootstrap": …}'    prints {"lost": …, "doubled": …, "wrong": […], …}

No code of stoploss is used here: confluent-kafka reads, fastavro decodes by the files of schemas/, hashlib and
cryptography check. That the journal is the fold of the ledger can only be told by folding: another process does that
(refold.py), on another kind of machine as far as one can be feigned, and hands back hashes.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import struct
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.faults.records import PATIENCE_S, Place, Record, Told, decode, records_of, sent

FOLD_S = 600.0
GENESIS = "0" * 64


@dataclass(slots=True)
class Found:
    """What the verifier says.

    lost, doubled  traces, over all experiments; and rows of ClickHouse
    wrong          a sentence for each thing that is not as it has to be
    """

    traces: int = 0
    outcomes: int = 0
    evidence: int = 0
    entries: int = 0
    commands: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)


# ---- (b) evidence --------------------------------------------------------------------------------


def untrimmed(blocks: Iterable[Record]) -> Iterator[Place]:
    """The watermark rule by hand: of each source, what lies beyond all that an earlier block had."""
    highest: dict[tuple[str, int], int] = {}
    for block in blocks:
        before = dict(highest)
        for code, offset in zip(block["source"], _integers(block["offset"]), strict=True):
            source = block["sources"][code]
            key = (source["topic_uuid"], source["partition"])
            if offset > before.get(key, -1):
                yield (*key, offset)
                highest[key] = max(offset, highest.get(key, -1))


def _integers(packed: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(packed) // 8}q", packed)


def compare_evidence(
    experiment: str, counted: Counter[Place], valid: set[Place], other: set[Place], found: Found
) -> None:
    missing, strange = valid - counted.keys(), counted.keys() - valid
    found.evidence += len(counted)
    found.lost += len(missing)
    found.doubled += sum(counted.values()) - len(counted)
    if missing:
        found.wrong.append(f"{experiment}: {len(missing)} valid traces are no evidence, such as {min(missing)}")
    if strange:
        what = "were not valid" if strange & other else "nobody sent"
        found.wrong.append(f"{experiment}: {len(strange)} rows are evidence that {what}, such as {min(strange)}")


def given_back(resolved: Iterable[Message], uuid: str) -> tuple[Counter[str], set[Place]]:
    """Bare outcomes that came back with the context of their trace: how often, by trace, and where each stands."""
    traces, places = Counter[str](), set[Place]()
    for message in resolved:
        _, outcome = decode(message.value())
        traces[outcome["trace_id"]] += 1
        places.add((uuid, message.partition() or 0, message.offset() or 0))
    return traces, places


def compare_given_back(bare: set[str], traces: Counter[str], found: Found) -> None:
    """Each exactly once: what a resolver gives back and how far it is are one transaction."""
    found.lost += len(bare - traces.keys())
    found.doubled += sum(traces.values()) - len(traces)
    if traces != Counter(bare):
        found.wrong.append(f"{len(bare)} bare outcomes were sent, {sum(traces.values())} of {len(traces)} came back")


def compare_dead_letters(letters: Iterable[Message], bad: set[Place], found: Found) -> None:
    """Each bad record is in the dead letters; a worker that was killed may have written it there twice."""
    refused = set()
    for message in letters:
        _, letter = decode(message.value())
        refused.add((letter["source"]["topic_uuid"], letter["source"]["partition"], letter["offset"]))
    if missing := bad - refused:
        found.lost += len(missing)
        found.wrong.append(f"{len(missing)} bad records are no dead letters, such as {min(missing)}")


# ---- (a) the journal -----------------------------------------------------------------------------


def compare_chain(experiment: str, values: Sequence[bytes], found: Found) -> None:
    """Numbers without gaps, each entry linked to the one before it by hash."""
    previous = GENESIS
    for number, value in enumerate(values):
        _, entry = decode(value)
        if (entry["number"], entry["previous"]) != (number, previous):
            found.wrong.append(f"{experiment}: journal entry {entry['number']} does not follow entry {number - 1}")
            return
        previous = hashlib.sha256(value).hexdigest()


def compare_fold(experiment: str, published: Sequence[str], folded: Sequence[str], found: Found) -> None:
    """Every entry that was published is the fold's, byte for byte, and none is missing."""
    if list(published) == list(folded):
        return
    same = zip(published, folded, strict=False)
    first = next((n for n, (ours, theirs) in enumerate(same) if ours != theirs), min(len(published), len(folded)))
    found.wrong.append(
        f"{experiment}: {len(published)} journal entries, the ledger gives {len(folded)}; they part at entry {first}"
    )


def fold_elsewhere(told: Told) -> dict[str, list[str]]:
    """By a new process with another hash seed, another number of threads, and without the CPU's newer instructions."""
    numpy = importlib.import_module("numpy._core._multiarray_umath")
    newer = " ".join(feature for feature in numpy.__cpu_dispatch__ if numpy.__cpu_features__[feature])
    threads = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    ledger = {"bootstrap": told.bootstrap, "prefix": told.prefix, "up_to": judged_up_to(told)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.refold", json.dumps(ledger)],
        env={**os.environ, **threads, "PYTHONHASHSEED": "12345", "NPY_DISABLE_CPU_FEATURES": newer},
        capture_output=True,
        check=False,
        timeout=FOLD_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the ledger could not be folded: {done.stderr.decode()[-2_000:]}")
    return dict(json.loads(done.stdout))


def judged_up_to(told: Told) -> dict[int, int]:
    topic = told.prefix + "ledger"
    consumer = Consumer({"bootstrap.servers": told.bootstrap, "group.id": told.judge_group, "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        return {at.partition: at.offset for at in consumer.committed(wanted, timeout=PATIENCE_S)}
    finally:
        consumer.close()


# ---- (c) and (d) states and commands -------------------------------------------------------------


def signed_by(key: Ed25519PublicKey, message: Message) -> bool:
    """Whether the monitor's key signed these bytes: forgeries are nobody's commands."""
    said = dict(message.headers() or []).get("stoploss-signature")
    signature = said.decode().partition("ed25519=")[2] if isinstance(said, bytes) else ""
    try:
        key.verify(base64.b64decode(signature), message.value() or b"")
    except (InvalidSignature, ValueError):
        return False
    return True


def commands_of(told: Told, messages: Iterable[Message], key: Ed25519PublicKey) -> Iterator[bytes]:
    """What the monitor has signed for this topic, and had not expired before it was written; all else is nobody's."""
    for message in messages:
        value = message.value() or b""
        if not signed_by(key, message):
            continue
        _, command = decode(value)
        if command["topic"] == told.prefix + "control" and is_in_time(command, message.timestamp()[1]):
            yield value


def is_in_time(command: Record, written_ms: int) -> bool:
    """Only what raises exposure expires. A judge's own is given minutes; what came later was put there by others."""
    return command["expires_at"] is None or written_ms * 1_000 < command["expires_at"]


def effective(values: Iterable[bytes], found: Found) -> dict[str, list[Record]]:
    """Commands by experiment, each place once; two different ones in one place are one too many."""
    places: dict[tuple[str, int, int], set[bytes]] = {}
    commands: dict[str, list[Record]] = defaultdict(list)
    for value in values:
        _, command = decode(value)
        same = places.setdefault((command["experiment"], command["run"], command["sequence"]), set())
        if not same:
            commands[command["experiment"]].append(command)
        same.add(value)
    found.wrong += [
        f"{place}: {len(same)} different commands in one place" for place, same in places.items() if len(same) > 1
    ]
    return commands


def compare_decisions(experiment: str, commands: Sequence[Record], entries: Sequence[bytes], found: Found) -> None:
    """The journal names each command once, and no other."""
    conclusions = [decode(value)[1]["conclusion"] for value in entries]
    issued = Counter(said["command_id"] for name, said in conclusions if name.endswith("CommandIssued"))
    given = Counter(command["command_id"] for command in commands)
    if issued != given:
        found.wrong.append(f"{experiment}: commands decided {sorted(issued.values())}, given {sorted(given.values())}")


def compare_states(told: Told, commands: dict[str, list[Record]], states: dict[str, Record], found: Found) -> None:
    flags = json.loads(Path(told.flag_file).read_text())["flags"]
    for experiment, wanted in told.experiments.items():
        state, given = states[experiment], commands.get(experiment, [])
        actions = [command["action"] for command in given]
        flag = flags.get(experiment, {}).get("metadata", {})
        stands = {
            "lifecycle": state["lifecycle"],
            "exposure": state["exposure"],
            "actions": actions,
            "controller": flag.get("exposure"),
            "obeyed": flag.get("command_id") == (given[-1]["command_id"] if given else None),
        }
        right = {**wanted, "controller": wanted["exposure"], "obeyed": True}
        found.wrong += [
            f"{experiment}: {what} is {stands[what]!r}, not {right[what]!r}"
            for what in right
            if stands[what] != right[what]
        ]


# ---- ClickHouse ----------------------------------------------------------------------------------


def asked(clickhouse: tuple[str, str], sql: str) -> list[list[Any]]:
    url, database = clickhouse
    query = urllib.parse.urlencode({"query": f"{sql} FORMAT JSONCompact", "database": database})
    with urllib.request.urlopen(f"{url}/?{query}", timeout=PATIENCE_S) as answer:
        return list(json.load(answer)["data"])


def compare_tables(told: Told, by_topic: dict[str, list[Message]], found: Found) -> None:
    """Each record of a topic is one row."""
    assert told.clickhouse is not None
    for topic, messages in by_topic.items():
        rows = asked(told.clickhouse, f"SELECT partition, offset FROM {topic}_v")
        stored = Counter((int(partition), int(offset)) for partition, offset in rows)
        there = {(message.partition() or 0, message.offset() or 0) for message in messages}
        found.lost += len(there - stored.keys())
        found.doubled += sum(stored.values()) - len(stored)
        if set(stored) != there or max(stored.values(), default=1) > 1:
            found.wrong.append(f"ClickHouse: {topic}_v has {len(rows)} rows, the topic {len(there)} records")


def compare_rows(told: Told, view: str, where: str, sent: int, found: Found) -> None:
    """Each trace that takes part in an experiment is one row, and so is each outcome of one."""
    assert told.clickhouse is not None
    sql = f"SELECT count(), uniqExact(topic_uuid, partition, offset) FROM {view} {where}"
    [[count, distinct]] = asked(told.clickhouse, sql)
    found.lost += max(0, sent - int(distinct))
    found.doubled += int(count) - int(distinct)
    if not int(count) == int(distinct) == sent:
        found.wrong.append(f"ClickHouse: {view} has {count} rows of {distinct} places, sent were {sent}")


# ---- all of it -----------------------------------------------------------------------------------


def verify(told: Told) -> Found:
    found = Found()
    by_kind = sent(told.logs)
    places = {kind: one.places for kind, one in by_kind.items()}
    valid, other = places["evidence"], places["unassigned"] | places["bad"]
    traces, resolved = given_back(records_of(told, "outcomes_resolved"), told.resolved)
    compare_given_back(by_kind["bare"].trace_ids, traces, found)
    late = places["outcome"] | resolved
    found.traces, found.outcomes = len(valid), len(late)
    topics = {name: records_of(told, name) for name in ("ledger", "journal", "control", "registry")}
    blocks = blocks_of(topics["ledger"])
    for experiment in told.experiments if told.ledger_whole else ():
        compare_evidence(experiment, Counter(untrimmed(blocks[experiment, False])), valid, other, found)
        compare_evidence(experiment, Counter(untrimmed(blocks[experiment, True])), late, places["bare"], found)
    compare_dead_letters(records_of(told, "deadletter"), places["bad"], found)
    key = load_pem_public_key(Path(told.public_key).read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    commands = effective(commands_of(told, topics["control"], key), found)
    found.commands = sum(map(len, commands.values()))
    judge_by_journal(told, topics["journal"], commands, found)
    states = {record["experiment"]: record for _, record in (decode(m.value()) for m in topics["registry"])}
    compare_states(told, commands, states, found)
    if told.clickhouse is not None:
        compare_tables(told, {name: topics[name] for name in ("ledger", "journal")}, found)
        compare_rows(told, "traces_v", "WHERE service = 'faults'", found.traces, found)
        compare_rows(told, "outcomes_v", "", found.outcomes, found)
    return found


def blocks_of(ledger: Iterable[Message]) -> dict[tuple[str, bool], list[Record]]:
    """Evidence by experiment, of traces (False) and of outcomes (True)."""
    blocks: dict[tuple[str, bool], list[Record]] = defaultdict(list)
    for message in ledger:
        name, record = decode(message.value())
        if name == "evidence_block":
            blocks[record["experiment"], record["outcomes"]].append(record)
    return blocks


def judge_by_journal(told: Told, journal: Iterable[Message], commands: dict[str, list[Record]], found: Found) -> None:
    entries: dict[str, list[bytes]] = defaultdict(list)
    for message in journal:
        value = message.value() or b""
        entries[decode(value)[1]["experiment"]].append(value)
    found.entries = sum(map(len, entries.values()))
    for experiment, values in sorted(entries.items()):
        compare_chain(experiment, values, found)
        compare_decisions(experiment, commands.get(experiment, []), values, found)
    if told.ledger_whole:
        hashes = {name: [hashlib.sha256(value).hexdigest() for value in values] for name, values in entries.items()}
        compare_folds(hashes, fold_elsewhere(told), found)


def compare_folds(published: dict[str, list[str]], folded: dict[str, list[str]], found: Found) -> None:
    for experiment in sorted(published.keys() | folded.keys()):
        compare_fold(experiment, published.get(experiment, []), folded.get(experiment, []), found)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(verify(Told(**json.loads(sys.argv[1]))))) + "\n")

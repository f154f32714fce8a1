"""A real worker on Kafka that is given thousands of mutated records: it lives, answers, and takes every good one in."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from random import Random

import polars as pl
import pytest

from stoploss import ledger, registry
from stoploss.embedded.ports import LOOPBACK, free_port
from stoploss.evidence import block_columns
from stoploss.intake.hashing import hash_ids
from stoploss.ledger import EvidenceBlock, SourceStatus
from tests.fuzz import corpus, mutations
from tests.installation import Installation, Kafka, Tail, appending, installed, letters_of
from tests.intake.records import NAME, SPEC, assigned
from tests.test_every_schema import samples

pytestmark = pytest.mark.kafka

MUTATED, GOOD = 3_000, 300


def registered(installation: Installation) -> None:
    """As the judge would have written it."""
    [entry, *_] = samples("registry_entry")
    known = dataclasses.replace(
        entry, experiment=NAME, partition=0, spec=SPEC.replace("UNIT", "user"), lifecycle="running"
    )
    appender = appending(installation.settings)
    appender.append(installation.settings.topics("registry"), registry.encode(known), key=NAME.encode(), partition=0)
    appender.flush()


def good(rng: Random, trace_id: str) -> bytes:
    content = corpus.record(rng, "trace", trace_id) | {"role": "live", "assignments": [assigned("small")]}
    return rng.choice((corpus.as_json, lambda held: corpus.single("trace", held)))(content)


def sent(installation: Installation, rng: Random) -> list[str]:
    """The ids of the good ones, of which each stands between ten mutated ones."""
    names = [f"good-{number}" for number in range(GOOD)]
    values = [mutations.mutated(rng, "trace", f"m-{number}") for number in range(MUTATED)]
    values += [good(rng, name) for name in names]
    rng.shuffle(values)
    appender = appending(installation.settings)
    for place, value in enumerate(values):
        appender.append(installation.settings.topics("traces"), value, partition=place % 2)
    appender.flush()
    return names


def arrived(facts: Tail) -> Counter[int]:
    """How often each trace stands in the ledger, by its hash."""
    blocks = [fact for fact in map(ledger.decode, facts.values()) if isinstance(fact, EvidenceBlock)]
    return Counter(trace for block in blocks for trace in block_columns(block).trace.tolist())


def counted(facts: Tail) -> list[SourceStatus]:
    """What became of the records of each source partition, as the worker last said."""
    told = [fact for fact in map(ledger.decode, facts.values()) if isinstance(fact, SourceStatus)]
    return list({fact.source.partition: fact for fact in told if fact.source.topic.endswith("traces")}.values())


def lives(port: int) -> bool:
    connection = HTTPConnection(LOOPBACK, port, timeout=30)
    connection.request("GET", "/livez")
    answer = connection.getresponse()
    connection.close()
    return answer.status == 200


def test_a_worker_takes_every_good_record_in_among_thousands_of_bad_ones_and_lives(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of now, so that most of what is refused is refused for what is wrong with it."""
    for module in (corpus, mutations):
        monkeypatch.setattr(module, "AT", time.time_ns() // 1_000)
    port = free_port()
    with installed(kafka, tmp_path, health_port=port) as installation:
        registered(installation)
        names, facts = sent(installation, Random(6)), Tail(installation.settings, "ledger")
        worker = installation.worker("intake")
        wanted = set(hash_ids(pl.Series(names), "trace", installation.keys.secret).tolist())
        installation.wait(lambda: wanted <= set(arrived(facts)), timeout_s=180.0)
        assert worker.running
        assert lives(port)
        assert {times for trace, times in arrived(facts).items() if trace in wanted} == {1}
        installation.wait(lambda: sum(told.offset for told in counted(facts)) == MUTATED + GOOD)
        told = counted(facts)
        letters = [(letter.source.partition, letter.offset) for letter in letters_of(installation.settings)]
        assert sum(one.valid + one.rejected + one.quarantined for one in told) == MUTATED + GOOD
        assert len(set(letters)) == len(letters) == sum(one.rejected for one in told) > MUTATED / 2
        assert worker.stop() == 0
        facts.close()

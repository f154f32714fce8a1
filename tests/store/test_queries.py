"""Reads: each runs, gives the rows it declares, and takes names as names."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from dataclasses import astuple, fields, replace
from datetime import UTC, datetime
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from clickhouse_connect.driver.client import Client

from stoploss import journal, measures, registry
from stoploss.store import inserts, queries, replay_reads, review_reads
from stoploss.wire import records
from tests.store import samples

PARAMETERS: dict[str, Any] = {
    "experiment": samples.NAME,
    "kinds": [],
    "minimum_cell": 20,
    "dimension": "",
    "metric": "latency_ms",
    "rule": "",
    "topic_uuid": "uuid-of-traces",
    "partition": 0,
    "offsets": [1, 2],
    "variant": samples.VARIANTS[0],
    "run": 1,
    "seed": 1,
    "most": 3,
    "since": datetime.fromtimestamp(samples.NOW - 3_600, UTC),
    "until": datetime.fromtimestamp(samples.NOW + 3_600, UTC),
}
QUERIES = queries.QUERIES | review_reads.QUERIES


def is_of(value: object, hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(is_of(value, member) for member in get_args(hint))
    if get_origin(hint) is list:
        return isinstance(value, list) and all(is_of(item, get_args(hint)[0]) for item in value)
    return type(value) is hint


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_query_gives_rows_of_the_declared_shape(told: Client, name: str) -> None:
    query = QUERIES[name]
    rows = query.run(told, **{key: value for key, value in PARAMETERS.items() if f"{{{key}:" in query.sql})
    assert rows
    hints = get_type_hints(query.row)
    for row in rows:
        wrong = {f.name: getattr(row, f.name) for f in fields(row) if not is_of(getattr(row, f.name), hints[f.name])}
        assert not wrong


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_query_reads_numbers_from_views(name: str) -> None:
    """A raw table may only say how far things are, never what they are."""
    relations = re.findall(r"(SELECT max\(at\) )?FROM (\w+)", QUERIES[name].sql)
    assert relations
    assert all(relation.endswith("_v") or how_far for how_far, relation in relations)


def test_status_is_the_registrys_last_word(told: Client) -> None:
    (status,) = queries.status(told)
    assert (status.experiment, status.lifecycle, status.exposure) == (samples.NAME, "rolled_back", 0.0)
    assert status.stopped_segments == ["tenant=acme"]
    assert status.changed_at == datetime.fromtimestamp(samples.NOW + 6, UTC)


def test_a_spec_that_stayed_in_force_is_one_version(told: Client) -> None:
    (version,) = queries.specs(told, samples.NAME)
    assert version.changed_at == datetime.fromtimestamp(samples.NOW + 1, UTC)


def test_the_timeline_is_the_journal_in_order_or_the_kinds_asked_for(told: Client) -> None:
    everything = queries.timeline(told, samples.NAME)
    assert [entry.number for entry in everything] == list(range(len(samples.conclusions())))
    found = queries.timeline(told, samples.NAME, kinds=["finding"])
    assert [entry.sentence for entry in found] == ["latency is 31 % higher", "and in one tenant"]
    assert found[1].segment_value == samples.HOSTILE


def test_a_command_that_was_sent_twice_is_one_with_its_acks(told: Client) -> None:
    (found,) = queries.commands(told, samples.NAME)
    assert (found.command.action, found.command.times_sent) == ("rollback", 2)
    assert [ack.status for ack in found.acks] == ["received", "applied"]


def test_the_newest_measure_of_every_cell_is_shown_once(told: Client) -> None:
    newest = datetime.fromtimestamp(samples.NOW + 10 * (samples.STEPS - 1), UTC)
    arms = queries.arms_latest(told, samples.NAME)
    assert {arm.at for arm in arms} == {newest}
    assert len(arms) == len(samples.VARIANTS) * (len(samples.METRICS) + 1 + len(samples.TENANTS))


def test_a_segment_of_fewer_rows_than_the_smallest_cell_is_hidden(told: Client) -> None:
    """P2"""
    hidden = {arm.segment_value: arm for arm in queries.segments(told, samples.NAME, "tenant") if arm.hidden}
    assert list(hidden) == ["tiny"]
    assert (hidden["tiny"].n, hidden["tiny"].mean, hidden["tiny"].p95) == (None, None, None)
    later = queries.segments(told, samples.NAME, "tenant", minimum_cell=5)
    assert {arm.segment_value for arm in later if arm.hidden} == {"tiny"}, "what was hidden once is not stored"
    assert all(arm.hidden for arm in queries.segments(told, samples.NAME, "tenant", minimum_cell=41))


def test_a_verdict_on_a_hidden_segment_shows_no_numbers(told: Client) -> None:
    (tiny,) = [v for v in queries.verdicts_latest(told, samples.NAME) if v.segment_value == "tiny"]
    assert tiny.hidden
    assert (tiny.estimate, tiny.lower, tiny.upper, tiny.n_control) == (None, None, None, None)
    assert tiny.verdict == "undecided"


def test_a_rule_that_says_several_things_of_a_metric_shows_them_all(told: Client) -> None:
    bounds = [verdict.bound for verdict in queries.verdicts_latest(told, samples.NAME) if verdict.rule == "budget"]
    assert bounds == [6.0, 14.4]


def test_burn_is_over_time_and_of_budgets_alone(told: Client) -> None:
    burn = queries.burn(told, samples.NAME)
    assert {verdict.rule for verdict in burn} == {"budget"}
    assert [verdict.observed for verdict in burn if verdict.bound == 6.0] == [1.5 * n for n in range(samples.STEPS)]


def test_exposures_after_a_stop_are_the_last_count(told: Client) -> None:
    (counted,) = queries.exposures_after_stop(told, samples.NAME)
    assert (counted.in_flight, counted.after_stop) == (4, 2)
    seconds = [moment and moment.timestamp() - samples.NOW for moment in astuple(counted)[3:]]
    assert seconds == [4, 6, 10]


def test_dead_letters_are_counted_by_role_and_fault(told: Client) -> None:
    counts = [(row.stage, row.code, row.records) for row in queries.dead_letters(told)]
    assert counts == [("intake", "truncated", 2), ("recorder", "unreadable_acks", 1)]


def test_evidence_leads_back_to_its_traces(told: Client) -> None:
    traces = queries.traces_at(told, samples.NAME, "uuid-of-traces", 0, [2, 3])
    assert [(trace.trace_id, trace.variants, trace.quarantined) for trace in traces] == [
        ("t-2", ["current"], "at is 2**62"),
        ("t-3", ["small"], None),
    ]


def test_traces_are_counted_once_in_all_and_by_experiment(told: Client) -> None:
    assert queries.trace_count(told) == 10
    assert queries.trace_count(told, samples.NAME) == 10
    assert queries.trace_count(told, "another") == 0


def test_replay_reads_the_ledger_byte_for_byte_in_order_page_by_page(
    told: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_reads, "PAGE_ENTRIES", 2)
    entries = list(replay_reads.read_ledger(told, 3))
    sent = samples.story()["ledger"]
    assert [(e.offset, e.at_micros, e.key, e.value) for e in entries] == [
        (r.offset, r.at, r.key, r.value) for r in sent
    ]
    assert [entry.offset for entry in replay_reads.read_ledger(told, 3, after=2)] == [3, 4]
    assert list(replay_reads.read_ledger(told, 4)) == []
    assert replay_reads.ledger_partitions(told) == [3]


def test_replay_reads_the_ledger_that_was_written_to_last(database: Callable[[str], Client]) -> None:
    client = database("ledger_made_again")
    records = samples.story()["ledger"]
    old = [replace(record, topic_uuid="old", timestamp_ms=record.timestamp_ms - 60_000) for record in records]
    new = [replace(record, topic_uuid="new") for record in records[:2]]
    inserts.insert(client, inserts.encode("ledger", [*old, *new]))
    assert len(list(replay_reads.read_ledger(client, 3))) == 2
    assert len(list(replay_reads.read_ledger(client, 3, topic_uuid="old"))) == 5


def test_one_ledger_entry_is_found_by_its_place_or_not_at_all(told: Client) -> None:
    entry = replay_reads.ledger_entry(told, 3, 1)
    assert entry is not None
    assert entry.value == samples.story()["ledger"][1].value
    assert replay_reads.ledger_entry(told, 3, 99) is None


def test_replay_reads_the_journal_byte_for_byte_in_order_page_by_page(
    told: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_reads, "PAGE_ENTRIES", 3)
    read = [(entry.number, entry.value) for entry in replay_reads.read_journal(told, samples.NAME)]
    assert read == list(enumerate(samples.journal_values()))


def test_names_full_of_quotes_and_sql_come_back_as_they_are(database: Callable[[str], Client]) -> None:
    client = database("hostile")
    name = samples.HOSTILE
    for stream, values in {
        "journal": samples.journal_values(name),
        "measures": [measures.encode(samples.measure(1, name))],
        "control": [records.encode("command", samples.command(name))],
        "registry": [registry.encode(samples.registry_entry("running", 1, name))],
    }.items():
        inserts.insert(client, inserts.encode(stream, samples.stored(stream, values, key=name.encode())))
    assert [status.experiment for status in queries.status(client)] == [name]
    assert len(queries.timeline(client, name)) == len(samples.conclusions())
    assert queries.timeline(client, name, kinds=[name]) == []
    assert len(queries.commands(client, name)) == 1
    assert queries.arms_over_time(client, name, name) == []
    assert {arm.segment_value for arm in queries.segments(client, name, "tenant")} == set(samples.TENANTS)
    assert len(list(replay_reads.read_journal(client, name))) == len(samples.conclusions())
    assert journal.decode(next(iter(replay_reads.read_journal(client, name))).value).experiment == name
    assert queries.timeline(client, samples.NAME) == []

"""The doctor looks at what a person would look at first, and says what to do; one finding is exit code 3."""

from __future__ import annotations

import json
from pathlib import Path

from stoploss.cli import checking
from stoploss.embedded.kafka import EmbeddedKafka
from tests.cli.conftest import Ended, Program
from tests.installation import Installation, create_topics, settings_of


def findings(ended: Ended) -> dict[str, tuple[bool, str]]:
    """Of a run with --json."""
    return {found["what"]: (found["ok"], found["said"]) for found in json.loads(ended.out)}


def test_a_running_installation_is_well(live: Program, installation: Installation) -> None:
    installation.wait(lambda: findings(live("doctor", "--json"))["roles"][0])
    ended = live("doctor")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split(":")[0] for line in ended.out.splitlines()]
    names = ("versions", "Kafka", "topics", "clock", "roles", "ClickHouse", "keys", "disk")
    assert lines == [f"ok   {name}" for name in names]


def test_without_anything_each_finding_names_the_way_out(stoploss: Program) -> None:
    ended = stoploss("doctor")
    assert (ended.code, ended.err) == (3, "")
    bad = {line.split(":")[0].removeprefix("BAD").strip(): line for line in ended.out.splitlines() if "BAD" in line}
    assert sorted(bad) == ["ClickHouse", "Kafka", "keys"]
    assert "STOPLOSS_KAFKA" in bad["Kafka"]
    assert "STOPLOSS_CLICKHOUSE_URL" in bad["ClickHouse"]
    assert "`stoploss keys` makes them" in bad["keys"]


def test_addresses_where_nobody_listens_are_found(stoploss: Program) -> None:
    found = findings(stoploss.set(kafka="127.0.0.1:1", clickhouse_url="http://127.0.0.1:1")("doctor", "--json"))
    assert found["Kafka"] == (
        False,
        "no Kafka broker answers (127.0.0.1:1: connection refused); start it, or correct STOPLOSS_KAFKA",
    )
    assert not found["ClickHouse"][0]
    assert "topics" not in found


def test_topics_that_are_missing_and_roles_that_nobody_plays_are_found(
    stoploss: Program, kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    settings = settings_of(kafka, tmp_path)
    found = findings(stoploss.of(settings)("doctor", "--json"))
    assert found["topics"][0] is False
    assert f"{settings.topics('ledger')} is missing" in found["topics"][1]
    assert "`stoploss topics` creates what is missing" in found["topics"][1]
    assert found["roles"][0] is False
    assert "`stoploss worker intake joiner resolver registrar judge courier recorder`" in found["roles"][1]


def test_a_ledger_whose_times_would_not_be_the_brokers_is_found(
    stoploss: Program, kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    settings = settings_of(kafka, tmp_path)
    create_topics(settings, "ledger", message_timestamp_type="CreateTime")
    found = findings(stoploss.of(settings)("doctor", "--json"))
    expected = f"{settings.topics('ledger')} has message.timestamp.type=CreateTime, needs LogAppendTime"
    assert expected in found["topics"][1]


def test_a_full_disk_is_found_where_the_home_will_be(tmp_path: Path, stoploss: Program) -> None:
    stoploss.set(home=tmp_path / "not" / "made" / "yet")
    said = findings(stoploss("doctor", "--json"))["disk"][1]
    assert said.endswith(f"GiB free at {tmp_path}")
    assert checking.LEAST_FREE_BYTES == 2 * 1024**3

"""Topics are printed without a broker, created with one, and never given another number of partitions."""

from __future__ import annotations

import json
import uuid

from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.topics import TOPICS
from streams.admin import Admin
from tests.cli.conftest import Program


def test_print_needs_no_broker_and_shows_every_topic(stoploss: Program) -> None:
    ended = stoploss("topics", "--print")
    assert ended.code == 0
    shown = [line.split()[0] for line in ended.out.splitlines()[1:] if line.startswith("stoploss.")]
    assert shown == [f"stoploss.{name}" for name in TOPICS]


def test_as_json_every_topic_has_the_settings_that_it_is_made_with(stoploss: Program) -> None:
    printed = json.loads(stoploss("topics", "--print", "--json").out)
    assert printed["created"] == []
    assert {row["topic"]: row["config"] for row in printed["topics"]} == {
        f"stoploss.{name}": dict(topic.config()) for name, topic in TOPICS.items()
    }


def test_what_is_missing_is_created_once(stoploss: Program, kafka: EmbeddedKafka) -> None:
    prefix = f"{uuid.uuid4().hex[:8]}."
    stoploss.set(kafka=kafka.bootstrap, topic_prefix=prefix, ledger_partitions=2)
    first, second = stoploss("topics", "--json"), stoploss("topics")
    assert json.loads(first.out)["created"] == [f"{prefix}{name}" for name in TOPICS]
    assert second.out.endswith("created: none, all were there\n")
    assert Admin(kafka.bootstrap).existing()[f"{prefix}ledger"] == 2


def test_another_number_of_ledger_partitions_is_refused_with_the_setting_that_fits(
    stoploss: Program, kafka: EmbeddedKafka
) -> None:
    stoploss.set(kafka=kafka.bootstrap, topic_prefix=f"{uuid.uuid4().hex[:8]}.", ledger_partitions=2)("topics")
    ended = stoploss.set(ledger_partitions=3)("topics")
    assert ended.code == 1
    assert "set STOPLOSS_LEDGER_PARTITIONS=2" in ended.sentence

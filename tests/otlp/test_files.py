"""Files that users copy: prices and the Collector's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from stoploss.otlp.prices import PriceTable
from stoploss.otlp.translating import LOGS, SPANS
from stoploss.topics import TOPICS, Names

ROOT = Path(__file__).parents[2]
AT_NS = 1_800_000_000_000_000_000


def collector() -> Any:
    return yaml.safe_load((ROOT / "deploy" / "collector" / "config.yaml").read_text())


def test_the_example_prices_can_be_read() -> None:
    table = PriceTable.load(ROOT / "deploy" / "prices.yaml")
    price = table.price("gpt-4o-2024-08-06", AT_NS)
    assert price is not None
    assert (price.input, price.cached) == (2.5, 1.25)


def test_the_collector_writes_to_topics_that_stoploss_creates() -> None:
    exporter = collector()["exporters"]["kafka"]
    written = {exporter[signal]["topic"] for signal in ("traces", "logs")}
    assert written == {f"${{env:TOPIC_PREFIX:-stoploss.}}{name}" for name in (SPANS, LOGS)}
    assert {Names()(name) for name in (SPANS, LOGS)} == {"stoploss.otlp_spans", "stoploss.otlp_logs"}
    assert {SPANS, LOGS} <= TOPICS.keys()


def test_the_builder_brings_every_part_that_the_configuration_names() -> None:
    builder = yaml.safe_load((ROOT / "deploy" / "collector" / "builder.yaml").read_text())
    for kind in ("receivers", "processors", "exporters"):
        modules = [part["gomod"] for part in builder[kind]]
        for name in collector()[kind]:
            assert any(f"/{name}{kind.removesuffix('s')} " in module for module in modules), name

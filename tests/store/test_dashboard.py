"""The Experiment dashboard: its SQL runs as Grafana would send it, and every panel says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from clickhouse_connect.driver.client import Client

from grafana import build, panels
from tests.store import samples
from tests.store.grafana_macros import expand_macros

DASHBOARD: dict[str, Any] = json.loads(build.OUTPUT.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
DECLARED = {panel.title: panel.columns for row in panels.ROWS.values() for panel in row}
PAGE = {"experiment": samples.NAME, "dimension": "tenant", "metric": "latency_ms", "guardrail": "latency_ms"}
SORTS = {"time": ("Date",), "text": ("String",), "number": ("Float", "Int", "UInt", "Decimal")}


def titles() -> list[str]:
    return [panel["title"] for panel in PANELS]


def panel(title: str) -> dict[str, Any]:
    return next(panel for panel in PANELS if panel["title"] == title)


def sent(sql: str, **page: str) -> str:
    start = datetime.fromtimestamp(samples.NOW, UTC) - timedelta(minutes=30)
    return expand_macros(sql, start=start, end=start + timedelta(hours=1), interval_s=20, variables=PAGE | page)


def shape(names: tuple[str, ...], types: tuple[Any, ...]) -> dict[str, str]:
    """Sort of each column by its ClickHouse type."""
    inner = [kind.name.replace("LowCardinality(", "").replace("Nullable(", "") for kind in types]
    sorts = [next(sort for sort, starts in SORTS.items() if name.startswith(starts)) for name in inner]
    return dict(zip(names, sorts, strict=True))


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from walk(item)


def test_the_committed_dashboard_is_what_the_generator_writes() -> None:
    assert build.OUTPUT.read_text() == build.text(), "run: python -m grafana.build"


@pytest.mark.parametrize("title", titles())
def test_a_panels_sql_runs_and_gives_the_declared_columns(told: Client, title: str) -> None:
    (query,) = panel(title)["targets"]
    result = told.query(sent(query["rawSql"]))
    assert shape(result.column_names, result.column_types) == DECLARED[title]
    assert result.result_rows


@pytest.mark.parametrize("title", [title for title in titles() if panel(title)["type"] == "timeseries"])
def test_a_series_is_sorted_by_time_with_one_point_per_name(told: Client, title: str) -> None:
    """What the plugin needs to turn rows into lines."""
    result = told.query(sent(panel(title)["targets"][0]["rawSql"]))
    words = [index for index, sort in enumerate(DECLARED[title].values()) if sort != "number"]
    keys = [tuple(row[index] for index in words) for row in result.result_rows]
    assert keys == sorted(set(keys))


def test_commands_are_annotations(told: Client) -> None:
    (annotation,) = DASHBOARD["annotations"]["list"]
    result = told.query(sent(annotation["target"]["rawSql"]))
    assert shape(result.column_names, result.column_types) == panels.COMMANDS_COLUMNS
    assert [row[1:3] for row in result.result_rows] == [("rollback", "latency is 31 % higher")]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("experiment", [samples.NAME]),
        ("dimension", ["tenant"]),
        ("metric", sorted([*samples.METRICS, "helpfulness"])),
        ("guardrail", ["latency_ms"]),
    ],
)
def test_a_variable_offers_what_is_stored(told: Client, name: str, values: list[str]) -> None:
    (found,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == name]
    assert [row[0] for row in told.query(sent(found["query"])).result_rows] == values


def test_a_segment_of_few_rows_shows_no_numbers(told: Client) -> None:
    """P2"""
    arms = told.query(sent(panel("Segments by $dimension: arms, $metric")["targets"][0]["rawSql"])).result_rows
    assert {row[0]: row[2:] for row in arms}["tiny"] == (None, None, None, None)
    assert {row[0]: row[2] for row in arms}["acme"] == 40
    guardrails = told.query(sent(panel("Segments by $dimension: guardrails")["targets"][0]["rawSql"])).result_rows
    assert guardrails == [("tiny", "latency_ms", "undecided", None, None, None, None)]
    verdicts = told.query(sent(panel("Verdicts now")["targets"][0]["rawSql"])).result_rows
    assert [set(row[5:]) for row in verdicts if row[2] == "tenant=tiny"] == [{None}]


def test_a_quote_in_a_chosen_value_stays_in_its_string(told: Client) -> None:
    sql = sent("SELECT ${metric:sqlstring} AS a, ${dimension:singlequote} AS b", metric="it's", dimension="it's")
    assert told.query(sql).result_rows == [("it's", "it's")]


def test_every_panel_says_what_to_do_and_has_a_unit_and_thresholds() -> None:
    for made in PANELS:
        defaults = made["fieldConfig"]["defaults"]
        assert len(made["description"]) > 40, made["title"]
        assert defaults["unit"], made["title"]
        assert defaults["thresholds"]["steps"][0]["value"] is None, made["title"]


def test_panels_have_their_own_ids_and_do_not_overlap() -> None:
    assert len({made["id"] for made in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    cells = [
        (x, y)
        for made in DASHBOARD["panels"]
        for x in range(made["gridPos"]["x"], made["gridPos"]["x"] + made["gridPos"]["w"])
        for y in range(made["gridPos"]["y"], made["gridPos"]["y"] + made["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < build.PAGE_WIDTH


def test_a_repeated_panel_has_its_line_to_itself() -> None:
    repeated = [made for made in PANELS if "repeat" in made]
    assert [made["gridPos"]["w"] for made in repeated] == [build.PAGE_WIDTH]
    assert [made["repeat"] for made in repeated] == ["guardrail"]


def test_every_query_goes_to_the_provisioned_data_source_by_both_its_addresses() -> None:
    provisioned = build.OUTPUT.parents[1] / "provisioning" / "datasources" / "clickhouse.yaml"
    (source,) = yaml.safe_load(provisioned.read_text())["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == build.DATASOURCE
    named = [node["datasource"] for node in walk(DASHBOARD) if "datasource" in node]
    assert named == [build.DATASOURCE] * len(named)
    settings = source["jsonData"]
    assert settings["protocol"] == "http"
    assert settings["server"] == settings["host"]


def test_every_query_reads_views() -> None:
    for node in walk(DASHBOARD):
        sql = node.get("rawSql", node.get("definition", ""))
        relations = [after.split()[0] for after in sql.replace("\n", " ").split(" FROM ")[1:] if after[0] != "("]
        assert all(relation.endswith("_v") for relation in relations), sql

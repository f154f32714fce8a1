"""The dashboards and alert rules: their SQL runs as Grafana would send it, and every panel says what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from clickhouse_connect.driver.client import Client

from grafana import alerting, build
from grafana.pages import PAGES
from grafana.panel import Panel, columns
from grafana.query import DATASOURCE
from stoploss import measures, registry
from stoploss.store import inserts, schema
from tests.review import stories
from tests.store import dashboard_stories, samples
from tests.store.grafana_macros import ALL, expand_macros
from tests.timelines import Timeline

DASHBOARDS: dict[str, dict[str, Any]] = {page.name: json.loads(build.text_of(page)) for page in PAGES}
DASHBOARD = DASHBOARDS["experiment"]
PAGE_WIDTH = 24
PANELS = [(page.name, panel) for page in PAGES for panel in page.panels]
SERIES = [(page, panel) for page, panel in PANELS if panel.visual == "timeseries"]
MADE = [panel for made in DASHBOARDS.values() for panel in made["panels"] if panel["type"] != "row"]
PAGE = {
    "experiment": samples.NAME,
    "dimension": "tenant",
    "value": ALL,
    "metric": "latency_ms",
    "guardrail": "latency_ms",
    "business": "cost_usd",
}
MARKS = columns("time:time title:text text:text tags:text")
SORTS = {"time": ("Date",), "text": ("String",), "number": ("Float", "Int", "UInt", "Decimal")}


def named(found: tuple[str, Panel]) -> str:
    return f"{found[0]}: {found[1].title}"


def query(title: str, page: str = "experiment") -> str:
    """SQL of a panel as it stands in the written dashboard."""
    made = next(made for made in DASHBOARDS[page]["panels"] if made["title"] == title and made["type"] != "row")
    return str(made["targets"][0]["rawSql"])


def sent(sql: str, **page: str) -> str:
    start = datetime.fromtimestamp(samples.NOW, UTC) - timedelta(minutes=30)
    return expand_macros(sql, start=start, end=start + timedelta(hours=1), interval_s=20, variables=PAGE | page)


def shown_from(story: Timeline, sql: str) -> str:
    """As a page of a judged story asks for it, whose experiment is called as the samples are not."""
    start = datetime.fromtimestamp(stories.BEGIN // 1_000_000, UTC)
    page = PAGE | {"experiment": story.experiment.name}
    return expand_macros(sql, start=start, end=start + timedelta(hours=1), interval_s=20, variables=page)


def annotation(name: str) -> str:
    marks = DASHBOARD["annotations"]["list"]
    return str(next(mark["target"]["rawSql"] for mark in marks if mark["name"] == name))


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


def test_the_committed_files_are_what_the_generator_writes() -> None:
    assert {path: path.read_text() for path in build.files()} == build.files(), "run: python -m grafana.build"
    assert {path.name for path in build.FOLDER.iterdir()} == {f"{page.name}.json" for page in PAGES}


@pytest.mark.parametrize("found", PANELS, ids=named)
def test_a_panels_sql_runs_and_gives_the_declared_columns(told: Client, found: tuple[str, Panel]) -> None:
    page, panel = found
    result = told.query(sent(query(panel.title, page)))
    assert shape(result.column_names, result.column_types) == panel.columns
    assert result.result_rows


@pytest.mark.parametrize("found", SERIES, ids=named)
def test_a_series_is_sorted_by_time_with_one_point_per_name(told: Client, found: tuple[str, Panel]) -> None:
    """What the plugin needs to turn rows into lines."""
    page, panel = found
    result = told.query(sent(query(panel.title, page)))
    words = [index for index, sort in enumerate(panel.columns.values()) if sort != "number"]
    keys = [tuple(row[index] for index in words) for row in result.result_rows]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("rule", alerting.RULES, ids=lambda rule: rule.uid)
def test_an_alert_rule_asks_for_one_number(told: Client, rule: alerting.Rule) -> None:
    result = told.query(sent(rule.sql))
    assert len(result.result_rows) == 1
    assert list(shape(result.column_names, result.column_types).values()) == ["number"]


def test_alert_rules_stand_in_the_file_as_grafana_reads_them() -> None:
    (group,) = yaml.safe_load(alerting.PATH.read_text())["groups"]
    for rule in group["rules"]:
        query, above = rule["data"]
        assert (query["refId"], query["datasourceUid"]) == ("A", DATASOURCE.uid)
        assert (rule["condition"], above["model"]["expression"]) == ("B", "A")
        assert len(rule["uid"]) <= 40


def test_a_table_that_is_turned_has_a_cell_for_each_pair(told: Client) -> None:
    for page, panel in PANELS:
        if panel.matrix is None:
            continue
        row, column, value = (list(panel.columns).index(name) for name in panel.matrix)
        cells = [(found[row], found[column]) for found in told.query(sent(query(panel.title, page))).result_rows]
        assert len(set(cells)) == len(cells)
        assert list(panel.columns.values())[value] == "number"


def test_a_link_leads_to_the_page_of_an_experiment() -> None:
    uids = {made["uid"] for made in DASHBOARDS.values()}
    assert len(uids) == len(PAGES)
    assert build.TO_EXPERIMENT["url"].startswith(f"/d/{DASHBOARD['uid']}?var-experiment=")
    assert all(panel.columns[name] == "text" for _, panel in PANELS for name in panel.links)


def test_commands_are_annotations(told: Client) -> None:
    marks = told.query(sent(annotation("Commands")))
    assert shape(marks.column_names, marks.column_types) == MARKS
    assert marks.result_rows[0][1:3] == ("rollback", "latency is 31 % higher")


def test_each_kind_of_drift_is_an_annotation(database: Callable[[str], Client]) -> None:
    """W1, E7: of an arm's own metric, of who its users are, and of the judge; as the real judge finds them."""
    client, story = database("drifted"), dashboard_stories.drifted()
    dashboard_stories.record(client, story)
    marks = client.query(shown_from(story, annotation("Drift")))
    assert shape(marks.column_names, marks.column_types) == MARKS
    titles = {row[1] for row in marks.result_rows}
    assert titles == {"drift: breach", "mix_drift: breach", "judge_drift: breach"}
    assert {row[2] for row in marks.result_rows} == {finding.sentence for finding in story.breaches}


def test_a_treatment_that_costs_more_has_saved_less_than_nothing(told: Client) -> None:
    """W5"""
    (saved,) = told.query(sent(query("Cost saved", "programme"))).first_row
    last = samples.STEPS - 1
    assert saved == pytest.approx(-samples.METRICS["cost_usd"] * last * 100 * (last + 1))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("experiment", [samples.NAME]),
        ("dimension", ["tenant"]),
        ("value", sorted({*samples.TENANTS} - {"tiny"})),
        ("metric", sorted([*samples.METRICS, "helpfulness"])),
        ("guardrail", ["latency_ms"]),
    ],
)
def test_a_variable_offers_what_is_stored(told: Client, name: str, values: list[str]) -> None:
    (found,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == name]
    assert [row[0] for row in told.query(sent(found["query"])).result_rows] == values


def test_a_segment_of_few_rows_shows_no_numbers(told: Client) -> None:
    """P2"""
    arms = told.query(sent(query("Segments by $dimension: arms, $metric"))).result_rows
    assert {row[0]: row[2:] for row in arms}["tiny"] == (None, None, None, None)
    assert {row[0]: row[2] for row in arms}["acme"] == 40
    guardrails = told.query(sent(query("Segments by $dimension: guardrails"))).result_rows
    assert guardrails == [("tiny", "latency_ms", "undecided", None, None, None, None)]
    verdicts = told.query(sent(query("Verdicts now"))).result_rows
    assert [set(row[5:]) for row in verdicts if row[2] == "tenant=tiny"] == [{None}]


def test_a_stop_is_false_where_the_very_run_that_it_ended_was_rolled_out(database: Callable[[str], Client]) -> None:
    """W5: not where another run was, nor where the rollout came first."""
    told = [dashboard_stories.stopped_falsely(), dashboard_stories.mended(), dashboard_stories.harmful_later()]
    assert [story.it.lifecycle for story in told] == ["completed", "adopted", "stopped"]
    client = database("reviewed")
    dashboard_stories.record(client, *told)
    false = query("Stops found false", "programme")
    assert client.query(shown_from(told[0], false)).result_rows == [(1,)]
    (sql,) = [panel.sql for _, panel in PANELS if panel.title == "Runs ended by a rule"]
    assert client.query(shown_from(told[0], sql)).result_rows == [(3,)]
    decided = client.query("SELECT experiment, run FROM journal_shown_v WHERE decision = 'rollout' ORDER BY experiment")
    assert decided.result_rows == [("harmful-later", 1), ("mended", 2), ("stopped-falsely", 1)]


WRITTEN = {
    "in-a-line": "spec:\n  success: {baseline: 0.3, metric: output_tokens}\n",
    "in-lines": "spec:\n  hypothesis: a success\n  success:\n    then: []\n    metric: 'output_tokens'  # each\n",
    "in-json": '{"kind": "Experiment",\n"spec": {"success": {"metric": "output_tokens"}}}',
    "of-errors": "spec:\n  success: {metric: error_rate}\n",
    "not-measured": "spec:\n  success: {metric: refunds}\n",
}
"""Specs by the names of their experiments."""


@pytest.fixture(scope="module")
def aimed(database: Callable[[str], Client]) -> Client:
    client = database("aimed")
    for partition, (name, spec) in enumerate(WRITTEN.items()):
        entry = registry.encode(replace(samples.registry_entry("running", 1, name), spec=spec))
        for stream, value in (("registry", entry), ("measures", measures.encode(samples.measure(1, name)))):
            inserts.insert(client, inserts.encode(stream, samples.stored(stream, [value], partition=partition)))
    return client


@pytest.mark.parametrize(
    ("experiment", "metric", "business"),
    [
        ("in-a-line", "error_rate", "output_tokens"),
        ("in-lines", "error_rate", "output_tokens"),
        ("in-json", "error_rate", "output_tokens"),
        ("of-errors", "latency_ms", "error_rate"),
        ("not-measured", "error_rate", "cost_usd"),
    ],
)
def test_the_programme_opens_with_what_the_experiment_is_for_beside_how_the_model_behaves(
    aimed: Client, experiment: str, metric: str, business: str
) -> None:
    """The first that is offered is chosen, so it must not be put in another order."""
    variables = {one["name"]: one for one in DASHBOARDS["programme"]["templating"]["list"]}
    for name, first in (("metric", metric), ("business", business)):
        offered = [row[0] for row in aimed.query(sent(variables[name]["query"], experiment=experiment)).result_rows]
        assert offered[0] == first
        assert variables[name]["sort"] == 0
    assert variables["experiment"]["sort"] == 1


@pytest.mark.parametrize("chosen", ["acme", samples.HOSTILE])
def test_a_chosen_segment_is_shown_alone(told: Client, chosen: str) -> None:
    arms = told.query(sent(query("Segments by $dimension: arms, $metric"), value=chosen)).result_rows
    assert {row[0] for row in arms} == {chosen}
    assert told.query(sent(query("Segments by $dimension: guardrails"), value=chosen)).result_rows == []


def test_a_segment_of_few_rows_is_offered_to_nobody_and_shows_nothing_to_who_asks_for_it(told: Client) -> None:
    """P2: its name in the address of the page is all that it takes to ask."""
    arms = told.query(sent(query("Segments by $dimension: arms, $metric"), value="tiny")).result_rows
    assert {row[2:] for row in arms} == {(None, None, None, None)}


def test_all_segment_values_are_chosen_at_first() -> None:
    (value,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "value"]
    assert (value["includeAll"], value["multi"], value["current"]["value"]) == (True, True, [ALL])


def test_a_quote_in_a_chosen_value_stays_in_its_string(told: Client) -> None:
    sql = sent("SELECT ${metric:sqlstring} AS a, ${dimension:singlequote} AS b", metric="it's", dimension="it's")
    assert told.query(sql).result_rows == [("it's", "it's")]


def test_every_panel_says_what_to_do() -> None:
    for made in MADE:
        assert len(made["description"]) > 40, made["title"]


NAMES = {"run", "number", "ledger_partition", "ledger_offset"}
"""Columns of numbers that are no amounts: they have no unit, and are shown to the last digit."""
UNIT_OF_A_METRIC = {
    "experiment: Chosen metric: $metric",
    "experiment: Guardrail: $guardrail",
    "experiment: Verdicts now",
    "experiment: Segments by $dimension: guardrails",
    "experiment: Segments by $dimension: arms, $metric",
    "segments: $metric by $dimension and variant",
    "programme: Behaviour: $metric",
    "programme: Business: $business",
}
"""Their numbers are in whatever the metric that was chosen, or that of a row, is measured in."""
COMPARED_WITH_NOTHING = {
    "overview: Exposure",
    "overview: Findings",
    "overview: Commands",
    "experiment: Latency",
    "experiment: Time to first token",
    "experiment: Output tokens",
    "experiment: Cost of a request",
    "experiment: Errors",
    "experiment: Chosen metric: $metric",
    "experiment: Segments by $dimension: arms, $metric",
    "experiment: Dead letters over time",
    "segments: $metric by $dimension and variant",
    "segments: Rows by $dimension",
    "budgets: Cost of a request",
    "budgets: Spent in the run",
    "health: Measures stored",
    "health: Traces stored",
    "health: Conclusions",
    "quality: Judged and not judged",
    "quality: Dead letters over time",
    "programme: Time to a decision, median",
    "programme: What rules answered",
    "programme: Behaviour: $metric",
    "programme: Business: $business",
}
"""One arm is read beside the other, or a count beside the one before: no number of them alone is bad."""
LIMIT_IN_THE_ROWS = {"experiment: Guardrail: $guardrail"}
"""The margin is a line of its own: it differs from one guardrail to the next."""


def written(found: tuple[str, Panel]) -> dict[str, Any]:
    """A panel's defaults as they stand in the dashboard."""
    page, panel = found
    (made,) = [one for one in DASHBOARDS[page]["panels"] if one["title"] == panel.title and one["type"] != "row"]
    return dict(made["fieldConfig"]["defaults"])


@pytest.mark.parametrize("found", PANELS, ids=named)
def test_every_amount_has_a_unit(found: tuple[str, Panel]) -> None:
    default = written(found)["unit"]
    assert default == found[1].unit
    units = {name: found[1].units.get(name, default) for name, sort in found[1].columns.items() if sort == "number"}
    assert {units[name] for name in units.keys() & NAMES} <= {"none"}
    bare = {name for name in units.keys() - NAMES if units[name] in ("", "none", "short")}
    assert bool(bare) == (named(found) in UNIT_OF_A_METRIC), bare
    assert bare <= {"mean", "p50", "p95", "observed", "bound", "estimate", "lower", "upper", "margin"}


@pytest.mark.parametrize("found", PANELS, ids=named)
def test_a_panel_that_compares_with_a_limit_shows_where_it_is(found: tuple[str, Panel]) -> None:
    """Numbers by thresholds, words by the colour of each."""
    panel = found[1]
    first, *limits = written(found)["thresholds"]["steps"]
    assert first["value"] is None
    assert [limit["value"] for limit in limits] == sorted({limit["value"] for limit in limits})
    assert len({step["color"] for step in (first, *limits)}) == 1 + len(limits)
    amounts = {name for name, sort in panel.columns.items() if sort == "number"} - NAMES
    words = {name for name in panel.coloured if panel.columns[name] == "text"}
    by_words = bool(panel.colours) and (panel.visual == "stat" or bool(words)) and not amounts & {*panel.coloured}
    assert bool(limits) != (named(found) in COMPARED_WITH_NOTHING | LIMIT_IN_THE_ROWS or by_words), panel.title
    assert not limits or panel.visual != "table" or panel.matrix or amounts & {*panel.coloured}, "in no cell"


@pytest.mark.parametrize("page", DASHBOARDS)
def test_panels_have_their_own_ids_and_do_not_overlap(page: str) -> None:
    shown = DASHBOARDS[page]["panels"]
    assert len({made["id"] for made in shown}) == len(shown)
    cells = [
        (x, y)
        for made in shown
        for x in range(made["gridPos"]["x"], made["gridPos"]["x"] + made["gridPos"]["w"])
        for y in range(made["gridPos"]["y"], made["gridPos"]["y"] + made["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < PAGE_WIDTH


def test_a_repeated_panel_has_its_line_to_itself() -> None:
    repeated = [made for made in MADE if "repeat" in made]
    assert [made["gridPos"]["w"] for made in repeated] == [PAGE_WIDTH]
    assert [made["repeat"] for made in repeated] == ["guardrail"]


def test_every_query_goes_to_the_provisioned_data_source_by_both_its_addresses() -> None:
    provisioned = build.FOLDER.parent / "provisioning" / "datasources" / "clickhouse.yaml"
    (source,) = yaml.safe_load(provisioned.read_text())["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == DATASOURCE.to_json()
    named = [node["datasource"] for node in walk(DASHBOARDS) if "datasource" in node]
    assert named == [DATASOURCE.to_json()] * len(named)
    settings = source["jsonData"]
    assert settings["protocol"] == "http"
    assert settings["server"] == settings["host"]


def relations(sql: str) -> set[str]:
    """What a query reads. The column of an ARRAY JOIN is none."""
    return set(re.findall(r"(?:\bFROM|(?<!ARRAY )\bJOIN)\s+([\w.]+)", sql))


def test_the_relations_of_a_query_are_found_wherever_they_stand() -> None:
    sql = "SELECT a FROM x_v AS x\nINNER JOIN traces ON 1 LEFT JOIN\n(SELECT b FROM\ny_v) AS y ON 1 ARRAY JOIN c"
    assert relations(sql) == {"x_v", "traces", "y_v"}


def test_every_query_reads_views() -> None:
    asked = [node.get("rawSql", node.get("query", "")) for node in walk([DASHBOARDS, alert_rules()])]
    read = {relation for sql in asked for relation in relations(sql)}
    assert "registry_v" in read
    assert {relation for relation in read if not relation.endswith("_v")} == set()


def alert_rules() -> Any:
    return yaml.safe_load(alerting.PATH.read_text())


@pytest.fixture(scope="module")
def told_twice(database: Callable[[str], Client]) -> Client:
    """The story as a recorder leaves it that was killed after its inserts and began again; no copy is merged yet."""
    client = database("told_twice")
    for table in schema.tables():
        client.command(f"SYSTEM STOP MERGES {table}")
    for stream, records in [*samples.story().items()] * 2:
        inserts.insert(client, inserts.encode(stream, records))
    return client


def test_copies_are_there_to_be_seen(told: Client, told_twice: Client) -> None:
    counted = "SELECT count() FROM measures_verdicts_copies_v"
    assert told_twice.query(counted).first_row[0] > told.query(counted).first_row[0]


@pytest.mark.parametrize("found", PANELS, ids=named)
def test_a_panel_shows_the_same_while_an_insert_stands_there_twice(
    told: Client, told_twice: Client, found: tuple[str, Panel]
) -> None:
    page, panel = found
    sql = sent(query(panel.title, page))
    assert told_twice.query(sql).result_rows == told.query(sql).result_rows

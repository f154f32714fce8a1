"""P2: minimum cells everywhere people read.

A judged experiment with four tenants. One has few traces. Another is the smallest of the rest, is harmed and stopped
alone: its numbers with the totals would tell the first one's. Every place where people read is asked, and no number of
either is in any answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from rich.console import Console as RichConsole

from grafana.pages import PAGES
from grafana.panel import Page
from grafana.panels import COMMANDS_SQL
from stoploss.cli.output import json_text
from stoploss.commands import Evidence, Segment
from stoploss.console.parts import Console
from stoploss.control.alerts import alert_for, alert_for_finding
from stoploss.control.keys import create_keys
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.journal import Finding
from stoploss.outputs import JournalOutput
from stoploss.review.overview import status_of
from stoploss.review.tables import status_table
from stoploss.review.words import share
from stoploss.settings import Settings
from stoploss.signing import Signer
from stoploss.store import queries
from stoploss.store.client import connect
from stoploss.suppression import determined, wholes
from tests.cli.conftest import Program, stoploss
from tests.console.conftest import signed_in
from tests.incidents import world
from tests.review import stories
from tests.security.test_clickhouse_users import grants
from tests.store import samples
from tests.store.grafana_macros import ALL, expand_macros
from tests.timelines import Timeline, of_arm, spec, traces

__all__ = ["stoploss"]
TINY, HARMED = Segment("tenant", "tiny"), Segment("tenant", "harmed")
SHOWN = {"a", "b"}
DATABASE = "minimum_cells"
PLACES = ("offset", "ordinal", "number", "ledger_offset", "value", "spec")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


SPEC_OF_STORY = spec(
    """
segments: [tenant]
guardrails:
  - {metric: error_rate, direction: lower, margin: {relative: 0.50}, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance, action: rollback}
"""
)


def harmed_alone() -> Timeline:
    found = Timeline(SPEC_OF_STORY)
    found.at = stories.BEGIN
    found.started()
    found.traces(traces(46, seed=77, population=3, tenant=TINY.value))
    for step in range(12):
        broken = traces(83, seed=30 + step, users=900, population=1, error_rate=(0.2, 0.9), tenant=HARMED.value)
        stopped = len(found.commands) > 1
        found.traces(of_arm(broken, 0) if stopped else broken)
        found.traces(traces(700, seed=50 + step, users=20_000, error_rate=(0.2, 0.2), tenant="a"))
        found.traces(traces(500, seed=70 + step, users=20_000, population=2, error_rate=(0.2, 0.2), tenant="b"))
        found.seconds(3)
    return found


@pytest.fixture(scope="module")
def story() -> Timeline:
    found = harmed_alone()
    assert [str(one) for one in found.it.desired.stopped_segments] == [str(HARMED)]
    return found


@pytest.fixture(scope="module")
def client(
    story: Timeline, clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    found = connect(clickhouse.url, database=DATABASE)
    key = create_keys(tmp_path_factory.mktemp("keys")).private
    world.record(found, story, Signer.load(key), None)
    yield found
    found.close()


@pytest.fixture
def asked(stoploss: Program, client: Client, clickhouse: EmbeddedClickHouse) -> Program:
    return stoploss.set(clickhouse_url=clickhouse.url, clickhouse_database=DATABASE)


@pytest.fixture(scope="module")
def secrets(story: Timeline) -> frozenset[str]:
    """What the measures and findings say of both tenants, as people could be shown it: counts, rates and estimates.

    A number of one or two digits, such as 0.2, is no secret: it stands everywhere by chance.
    """
    measured = [arm for measure in story.measures() for arm in measure.arms if arm.segment in (TINY, HARMED)]
    told = [finding.evidence for finding in story.findings if finding.evidence.segment in (TINY, HARMED)]
    assert {arm.segment for arm in measured} == {TINY, HARMED}
    assert told
    counts = {arm.n for arm in measured} | {n for one in told for n in (one.n_control, one.n_treatment)}
    values = {x for arm in measured for x in (arm.mean, arm.standard_deviation)} | {x for one in told for x in _of(one)}
    found = {text for x in counts | values if x is not None for text in _texts(x)}
    return frozenset(text for text in found if _is_telling(text)) - _common(story)


def _is_telling(text: str) -> bool:
    """More than twenty, or at least three digits."""
    return abs(float(text)) > 20 or len(text.partition("e")[0].replace(".", "").strip("-0")) >= 3


def _of(evidence: Evidence) -> set[float | None]:
    return {evidence.observed, evidence.estimate, evidence.control, evidence.treatment, evidence.lower, evidence.upper}


def _common(story: Timeline) -> set[str]:
    """Numbers that others have too, so that to read them tells nothing."""
    others = [arm for measure in story.measures() for arm in measure.arms if arm.segment not in (TINY, HARMED)]
    found = {x for arm in others for x in (arm.n, arm.mean, arm.standard_deviation)}
    quantiles = {x for arm in others for x in (arm.p50, arm.p95, arm.p99) if x is not None}
    said = [one for measure in story.measures() for one in measure.verdicts if one.segment not in (TINY, HARMED)]
    found |= {x for one in said for x in (one.observed, one.bound, one.estimate, one.lower, one.upper, one.margin)}
    found |= {n for one in said for n in (one.n_control, one.n_treatment)}
    told = [finding.evidence for finding in story.findings if finding.evidence.segment not in (TINY, HARMED)]
    found |= {x for one in told for x in (*_of(one), one.n_control, one.n_treatment)}
    return {text for x in found if x is not None for text in _texts(x)} | {f"{x:.4g}" for x in quantiles}


def _texts(value: float) -> set[str]:
    """As people are shown it: four digits; a share as percent."""
    if isinstance(value, int):
        return {f"{value}"}
    return {f"{abs(value):.4g}"} | ({f"{abs(100 * value):.4g}"} if abs(value) <= 20 else set())


def leaked(text: str, secrets: frozenset[str]) -> set[str]:
    """Secrets that a text tells; times and addresses are none of its numbers."""
    plain = re.sub(r"\d{4}-\d\d-\d\d[T ]?[\d:.]*Z?|(?<![.0-9a-f])[0-9a-f]{8,}|\d+/\d+", " ", text)
    numbers = (match[0].replace(",", "") for match in NUMBER.finditer(plain))
    found = {text for number in numbers for text in (number, f"{float(number):.4g}")}
    return found & secrets


def rows_of(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return list(client.query(sql).result_rows)


def of_the_page(sql: str) -> str:
    start = datetime.fromtimestamp(stories.BEGIN / 1e6, UTC) - timedelta(minutes=5)
    page = {
        "experiment": "checkout",
        "dimension": "tenant",
        "value": ALL,
        "metric": "latency_ms",
        "guardrail": "latency_ms",
        "business": "cost_usd",
    }
    return expand_macros(sql, start=start, end=start + timedelta(hours=1), interval_s=20, variables=page)


def test_the_numbers_are_there_to_be_found(client: Client, secrets: frozenset[str]) -> None:
    """Who may read the journal itself finds them: the tests below can fail, by a count and by a rate."""
    assert leaked(str(rows_of(client, "SELECT sentence, n_treatment, observed FROM journal_v")), secrets)
    assert leaked(str(rows_of(client, "SELECT n_treatment FROM journal_v")), secrets)
    for column in ("treatment", "estimate"):
        rates = rows_of(client, f"SELECT {column} FROM commands_v")
        assert leaked(str(rates), secrets), column
        assert leaked(" ".join(share(one) for (one,) in rates), secrets), column
    assert leaked(str(rows_of(client, "SELECT reason FROM commands_v")), secrets)


def test_no_table_or_view_that_dashboards_may_read_tells_them(client: Client, secrets: frozenset[str]) -> None:
    """P2"""
    relations = [relation for _, relation in grants("stoploss_grafana") if relation != "dead_letters"]
    assert "measures_arms" in relations
    for relation in relations:
        columns = [row[0] for row in rows_of(client, f"DESCRIBE TABLE {relation}")]
        numbers = [
            name for name in columns if name not in ("offset", "ordinal", "number", "ledger_offset", "value", "spec")
        ]
        rows = rows_of(client, f"SELECT {', '.join(f'`{name}`' for name in numbers)} FROM {relation}")
        assert leaked(_told(rows), secrets) == set(), relation


def _told(rows: list[tuple[Any, ...]]) -> str:
    return "\n".join(str([x for x in row if not isinstance(x, datetime)]) for row in rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_panel_tells_them(client: Client, secrets: frozenset[str], page: Page) -> None:
    """P2"""
    for panel in page.panels:
        assert leaked(_told(rows_of(client, of_the_page(panel.sql))), secrets) == set(), panel.title


def test_no_annotation_tells_them(client: Client, secrets: frozenset[str]) -> None:
    """P2"""
    rows = rows_of(client, of_the_page(COMMANDS_SQL))
    assert "stop_segment" in _told(rows)
    assert leaked(_told(rows), secrets) == set()


COMMANDS: tuple[Callable[[str], list[str]], ...] = (
    lambda _: ["explain", "checkout"],
    lambda _: ["explain", "checkout", "--json"],
    lambda _: ["review", "checkout"],
    lambda _: ["review", "checkout", "--json"],
    lambda _: ["watch", "checkout", "--once"],
    lambda _: ["watch", "checkout", "--once", "--json"],
    lambda command: ["postmortem", command],
    lambda command: ["postmortem", command, "--json"],
    lambda _: ["cases", "checkout", "--json"],
    lambda _: ["cases", "checkout"],
    lambda _: ["shadow", "checkout"],
    lambda _: ["replay", "checkout", "--from", "clickhouse"],
    lambda _: ["replay", "checkout", "--from", "clickhouse", "--rules", "RULES"],
    lambda _: ["replay", "checkout", "--from", "clickhouse", "--rules", "RULES", "--json"],
    lambda _: ["knowledge", "--failure", "error_rate"],
    lambda _: ["knowledge", "error_rate", "--json"],
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda of: "-".join(of("ID")))
def test_no_command_tells_them(
    asked: Program, story: Timeline, secrets: frozenset[str], tmp_path: Path, arguments: Callable[[str], list[str]]
) -> None:
    """P2"""
    command_id = next(command.command_id for command in story.commands if command.action == "stop_segment")
    rules = tmp_path / "rules.yaml"
    rules.write_text(SPEC_OF_STORY.replace("relative: 0.50", "relative: 0.40"))
    ended = asked(*(str(rules) if word == "RULES" else word for word in arguments(command_id)))
    assert ended.code == 0, ended.err
    told = ended.out + ended.err
    assert re.search("checkout|error_rate|identical|skipped", told)
    assert leaked(told.replace(str(rules), ""), secrets) == set()


def test_no_status_tells_them(story: Timeline, secrets: frozenset[str]) -> None:
    """P2"""
    shown = status_of(story.registry()[-1], datetime.fromtimestamp(stories.BEGIN / 1e6, UTC).date())
    assert shown.stopped_segments == (str(HARMED),)
    console = RichConsole(width=200, record=True, file=StringIO())
    console.print(status_table([shown]))
    assert leaked(json_text(shown), secrets) | leaked(console.export_text(), secrets) == set()


def test_cases_do_not_say_whose_harm_they_are(
    story: Timeline, stoploss: Program, clickhouse: EmbeddedClickHouse, tmp_path: Path
) -> None:
    """P2: who counts them would know how many requests of the small tenant failed."""
    key, database = create_keys(tmp_path).private, f"{DATABASE}_with_texts"
    frame = samples.traces_frame(range(46, 46 + 83), stories.EXPERIMENT)  # the first of the harmed tenant
    texts = {"input_text": world.INPUT, "output_text": world.OUTPUT, "quarantined": None}
    stored = frame.with_columns(pl.lit(value, pl.String).alias(name) for name, value in texts.items())
    with closing(connect(clickhouse.url, database=database)) as client:
        world.record(client, story, Signer.load(key), stored)
    ended = stoploss.set(clickhouse_url=clickhouse.url, clickhouse_database=database)("cases", "checkout", "--json")
    links = [link for case in json.loads(ended.out)["cases"] for link in case["links"]]
    assert {(link["metric"], link["segment"]) for link in links} == {("error_rate", None)}


@pytest.mark.parametrize("path", ["/", "/experiments/checkout", "/experiments/checkout/review", "/search?q=error_rate"])
def test_no_page_of_the_console_tells_them(
    client: Client, clickhouse: EmbeddedClickHouse, tmp_path: Path, secrets: frozenset[str], path: str
) -> None:
    """P2: Kafka is away, so it is all read from ClickHouse."""
    settings = Settings(home=tmp_path, kafka="127.0.0.1:1", clickhouse_url=clickhouse.url, clickhouse_database=DATABASE)
    answer = signed_in(Console.of(settings)).get(path)
    assert answer.status_code == 200
    assert "checkout" in answer.text
    assert leaked(re.sub(r"<style.*?</style>|<[^>]+>", " ", answer.text, flags=re.DOTALL), secrets) == set()


def test_no_alert_tells_them(story: Timeline, secrets: frozenset[str]) -> None:
    """P2"""
    entries = [output.entry for output in story.outputs if isinstance(output, JournalOutput)]
    told = [alert_for_finding(e, e.conclusion) for e in entries if isinstance(e.conclusion, Finding)]
    alerts = [*told, *(alert_for(command) for command in story.commands)]
    assert any(alert.segment == str(HARMED) for alert in alerts)
    for alert in alerts:
        assert leaked(f"{alert.summary} {alert.evidence}", secrets) == set()


def test_what_is_shown_determines_no_hidden_cell(client: Client) -> None:
    """P2: neither by one page's numbers nor by all of them together."""
    seen: dict[str, dict[Segment, bool]] = {}
    for arm in queries.arms_latest(client, "checkout"):
        if arm.segment_dimension is not None:
            cell = Segment(arm.segment_dimension, arm.segment_value or "")
            seen.setdefault(arm.metric, {})[cell] = arm.n is None
    assert {cell.value for cell, hidden in seen["latency_ms"].items() if not hidden} == SHOWN
    for cells in seen.values():
        hidden = frozenset(cell for cell, away in cells.items() if away)
        assert {TINY, HARMED} <= hidden
        assert determined(hidden, frozenset(cells), wholes(frozenset(cells))) == frozenset()


def test_a_finding_is_shown_where_the_measures_show_its_cell(asked: Program) -> None:
    """Hidden is what tells of the small one, not every tenant."""
    review = json.loads(asked("review", "checkout", "--json").out)
    shown = {one["segment"]: one["n_treatment"] for one in review["segments"] if one["metric"] == "error_rate"}
    assert {segment for segment, n in shown.items() if n is not None} == {"tenant=a", "tenant=b"}

"""status, watch, explain and review on a real Kafka and ClickHouse, from what the real judge made of real timelines."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from stoploss import ledger, registry
from stoploss.cli import reading
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.errors import ConfigurationError, InvalidExperiment
from stoploss.ledger import Request
from stoploss.lifecycle import FREEZE, POLICY
from stoploss.outputs import RegistryOutput
from stoploss.review.errors import UnknownExperiment
from stoploss.settings import Settings
from stoploss.store import inserts
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from streams.admin import Admin
from tests.governance.institution import LENIENT
from tests.review import stories
from tests.store import samples

LEAK_OFFSET = 600


@pytest.fixture(autouse=True)
def _plain_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def database(clickhouse: EmbeddedClickHouse) -> Callable[[str], Client]:
    def made(name: str) -> Client:
        client = connect(clickhouse.url, database=name)
        migrate(client)
        return client

    return made


def _settings(clickhouse: EmbeddedClickHouse, name: str) -> Settings:
    return Settings(clickhouse_url=clickhouse.url, clickhouse_database=name)


@pytest.fixture(scope="module")
def slowed(clickhouse: EmbeddedClickHouse, database: Callable[[str], Client]) -> Settings:
    """A treatment that became slow and was rolled back."""
    client = database("reading_slowed")
    for stream, found in stories.streams_of(stories.slowed()).items():
        inserts.insert(client, inserts.encode(stream, found))
    return _settings(clickhouse, "reading_slowed")


@pytest.fixture(scope="module")
def leaked(clickhouse: EmbeddedClickHouse, database: Callable[[str], Client]) -> Settings:
    """A treatment that leaked a card number and was stopped; the trace that did is stored too."""
    client = database("reading_leaked")
    for stream, found in stories.streams_of(stories.leaked()).items():
        inserts.insert(client, inserts.encode(stream, found))
    frame = samples.traces_frame(range(LEAK_OFFSET, LEAK_OFFSET + 20), stories.EXPERIMENT)
    frame = frame.with_columns(pl.lit(stories.BEGIN + 2_000_000).alias("broker_at"))
    inserts.insert(client, inserts.encode("traces_clean", samples.stored("traces_clean", [clean_to_bytes(frame)])))
    return _settings(clickhouse, "reading_leaked")


@pytest.fixture
def governed(clickhouse: EmbeddedClickHouse, database: Callable[[str], Client]) -> Settings:
    """As `leaked`, under a policy that was put in force, beside one that was refused and a stop of the line."""
    client = database("reading_governed")
    asked = Request("p", "", POLICY, "carol", "", stories.BEGIN, LENIENT, accepted=True, opinion="", source="uuid/0/1")
    of_all = (asked, replace(asked, spec="no policy", accepted=False), replace(asked, action=FREEZE, spec=None))
    told = samples.stored("ledger", [ledger.encode(fact) for fact in of_all], key=b"", partition=0)
    streams = stories.streams_of(stories.leaked())
    streams["ledger"] += [replace(record, offset=record.offset + 100_000) for record in told]
    for stream, found in streams.items():
        inserts.insert(client, inserts.encode(stream, found))
    return _settings(clickhouse, "reading_governed")


@pytest.fixture(scope="module")
def unreadable(clickhouse: EmbeddedClickHouse, database: Callable[[str], Client]) -> Settings:
    """An experiment whose recorded spec this version cannot read, with a tenant of a hostile name."""
    client = database("reading_unreadable")
    for stream, found in samples.story().items():
        inserts.insert(client, inserts.encode(stream, found))
    return _settings(clickhouse, "reading_unreadable")


def json_of(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


# ---- explain -------------------------------------------------------------------------------------


def test_explain_goes_from_the_request_to_the_last_exposure(
    slowed: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    reading.explain(slowed, "checkout", as_json=False)
    shown = capsys.readouterr().out
    links = [
        "checkout: rolled_back",
        "start by ada: accepted",
        "epoch 1 at 50 % exposure",
        "breach (page): latency_ms is worse than allowed",
        "rollback, sequence 2: exposure 0 %",
        "signed by key 0a1b2c3d",
        "flagd/one: received after 40 ms; flagd/one: applied after 52 ms",
        "in flight at the decision",
        "500 traces from stoploss.traces, partition 0",
        "FROM reading_slowed.traces_v",
    ]
    places = [shown.rindex(link) for link in links]
    assert places == sorted(places)
    assert "\x1b" not in shown


def test_explain_as_data_links_command_finding_and_ledger(slowed: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    reading.explain(slowed, "checkout", as_json=True)
    told = json_of(capsys)
    command, finding = told["commands"][-1], told["findings"][-1]
    assert command["cause"] == finding["place"]["journal_entry_id"]
    assert finding["observed"] >= finding["bound"]
    assert told["lineage"][0]["place"] == finding["place"]
    assert [round(ack["delay_ms"]) for ack in command["acks"]] == [40, 52]


def test_the_statement_that_explain_prints_shows_the_trace_that_tripped_the_gate(
    leaked: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    reading.explain(leaked, "checkout", as_json=False)
    said = capsys.readouterr().out
    (tripped,) = [line for line in said.splitlines() if "tripped by trace" in line]
    statement = said.partition("see: ")[2].partition("\n\n")[0].replace("\n", " ")  # a terminal is narrower
    client = connect(leaked.need_clickhouse(), database=leaked.clickhouse_database)
    (row,) = client.query(statement).named_results()
    assert f"tripped by trace {row['trace_id']}: stoploss.traces, partition 0, offset {row['offset']}" in tripped


# ---- review --------------------------------------------------------------------------------------


def test_a_review_begins_with_the_template(slowed: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    reading.review(slowed, "checkout", None, as_json=False)
    first = capsys.readouterr().out.splitlines()[:20]
    assert first[2:5] == [
        "- **Hypothesis:** The smaller model is as good.",
        "- **Variant A (control):** current (tools: search (catalog.read); MCP servers: none; data: none)",
        "- **Variant B (treatment):** small (tools: search (catalog.read); MCP servers: none; data: none)",
    ]
    assert first[5] == "- **Target metric:** resolved; A no data, B no data"
    assert [line.split(":**")[0] for line in first[6:9]] == [f"- **Result for {x}" for x in ("quality", "cost", "risk")]
    assert first[9].startswith("- **Decision:** rollback; 2100-01-01 12:00")
    assert first[11].startswith(
        "- **Guardrail latency_ms (geometric mean):** breach: worse than the margin allows; effect"
    )


def test_a_review_as_data_hides_the_numbers_of_small_cells(
    slowed: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    reading.review(slowed, "checkout", None, as_json=True)
    found = json_of(capsys)
    cells = {result["segment"]: result for result in found["segments"] if result["metric"] == "latency_ms"}
    assert (cells["tenant=tiny"]["hidden"], cells["tenant=acme"]["hidden"]) == (True, True), "acme would tell of tiny"
    numbers = ("estimate", "lower", "upper", "observed", "n_control", "n_treatment")
    assert {cells[tenant][name] for tenant in ("tenant=tiny", "tenant=acme") for name in numbers} == {None}
    assert found["not_enforced"] == ["approvals (without a policy in force)"]
    assert found["target"]["control"] is None


def test_a_review_knows_the_policy_that_is_in_force(governed: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    reading.review(governed, "checkout", None, as_json=True)
    assert json_of(capsys)["not_enforced"] == []


def test_a_review_is_written_whole_to_the_file_that_was_named(
    leaked: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading.review(leaked, "checkout", tmp_path / "review.md", as_json=False)
    assert "written to" in capsys.readouterr().out
    assert "| pii_exposed | stop | 0 | 1 |" in (tmp_path / "review.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["review.md"]


def test_a_review_as_html_is_one_file_with_pictures_of_what_was_measured(slowed: Settings, tmp_path: Path) -> None:
    """X8"""
    reading.review(slowed, "checkout", tmp_path / "review.html", as_json=False)
    text = (tmp_path / "review.html").read_text()
    keys = re.findall(r'<div class="plot" id="plot-([^"]+)"', text)
    assert keys[:2] == ["exposure", "effect-0"]
    assert not [key for key in keys if key.startswith("forest")], "both tenants are hidden"
    assert "tenant=tiny" in text


def test_a_review_can_be_judged_again_from_what_it_names(slowed: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """V1"""
    reading.review(slowed, "checkout", None, as_json=True)
    found = json_of(capsys)
    last = found["findings"][-1]["place"]
    told = found["reproduction"]
    assert told["first_offset"] < last["ledger_offset"] <= told["last_offset"]
    assert told["first_number"] < last["journal_number"] <= told["last_number"]
    assert told["spec_hash"] == found["spec_hash"] == found["preregistered"]["spec_hash"]
    assert told["commands"][0] == "stoploss replay checkout"


def _review(settings: Settings, capsys: pytest.CaptureFixture[str], seed: int | None = 1) -> Any:
    reading.review(settings, "checkout", None, as_json=True, seed=seed)
    return json_of(capsys)


def test_the_sample_of_traces_is_drawn_by_its_seed_alone(leaked: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """E5"""
    drawn = {seed: _review(leaked, capsys, seed)["samples"] for seed in (1, 2)}
    assert _review(leaked, capsys, 1)["samples"] == drawn[1]
    ids = {seed: [trace["trace_id"] for trace in found["representative"]] for seed, found in drawn.items()}
    assert ids[1] != ids[2]
    assert [(one["variant"], one["traces"], one["of"]) for one in drawn[1]["drawn"]] == [
        ("current", 6, 8),
        ("small", 6, 8),
    ]
    assert all("quarantined" not in json.dumps(found) for found in drawn.values())


def test_traces_of_harm_stand_beside_the_sample_and_none_names_a_tenant(
    leaked: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """E5"""
    samples_ = _review(leaked, capsys)["samples"]
    (harm,) = samples_["harmful"]
    assert "it tripped pii_exposed" in harm["why"]
    assert "acme" not in json.dumps(samples_)
    assert _review(leaked, capsys, seed=None)["samples"]["representative"] == []


def test_a_review_cannot_be_written_where_there_is_no_directory(leaked: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory; name a file in a directory that exists"):
        reading.review(leaked, "checkout", tmp_path / "none" / "review.md", as_json=False)


# ---- watch ---------------------------------------------------------------------------------------


def test_watch_prints_one_frame_where_stdout_is_no_terminal(
    slowed: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    reading.watch(slowed, None, once=False, as_json=False)
    shown = capsys.readouterr().out
    for part in ("rolled_back", "latency_ms (geometric mean) breach: +", "error_rate undecided: ", "applied by flagd"):
        assert part in " ".join(shown.replace("│", " ").split())


def test_a_frame_as_data_is_one_line_with_the_traces_of_each_arm(
    slowed: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    reading.watch(slowed, "checkout", once=True, as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    (shown,) = json.loads(line)["experiments"]
    arms = {arm["variant"]: arm["n"] for arm in shown["arms"]}
    assert sum(arms.values()) > 9_000
    assert [result["verdict"] for result in shown["guardrails"]] == ["breach", "safe", "undecided"]
    assert (shown["last_command"]["action"], shown["last_command"]["waiting_for"]) == ("rollback", [])


def test_watch_refreshes_until_ctrl_c_and_ends_with_zero(slowed: Settings) -> None:
    program = (
        "import os; from stoploss.cli import reading; from stoploss.settings import Settings\n"
        "reading.watch(Settings(), None, once=False, as_json=False)"
    )
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "STOPLOSS_CLICKHOUSE_URL": slowed.need_clickhouse(),
        "STOPLOSS_CLICKHOUSE_DATABASE": slowed.clickhouse_database,
        "NO_COLOR": "1",
        "TERM": "xterm",
    }
    watcher = subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        _read_until(ours, b"read at ", times=2)
        watcher.send_signal(signal.SIGINT)
        rest = _read_to_end(ours)
        assert watcher.wait(30) == 0
        assert b"Traceback" not in rest
        assert b"\x1b[3" not in rest.replace(b"\x1b[?", b"")
    finally:
        watcher.kill()
        watcher.wait()
        os.close(ours)


def _read_until(terminal: int, wanted: bytes, times: int) -> None:
    seen = b""
    while seen.count(wanted) < times:
        seen += os.read(terminal, 65_536)


def _read_to_end(terminal: int) -> bytes:
    """A pseudo-terminal whose other side is closed raises EIO instead of giving nothing."""
    seen = b""
    try:
        while more := os.read(terminal, 65_536):
            seen += more
    except OSError:
        return seen
    return seen


# ---- a spec of another version ---------------------------------------------------------------------


def test_explain_and_watch_do_not_depend_on_the_spec(unreadable: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    reading.explain(unreadable, samples.NAME, as_json=False)
    reading.watch(unreadable, samples.NAME, once=True, as_json=False)
    shown = capsys.readouterr().out
    assert "breach (hold): and in one tenant" in shown
    assert "cannot read the spec" in " ".join(shown.replace("│", " ").split())


def test_a_review_of_a_spec_that_cannot_be_read_is_refused_and_says_what_is_wrong(unreadable: Settings) -> None:
    with pytest.raises(InvalidExperiment, match="the recorded spec of 'checkout-agent-model' is refused"):
        reading.review(unreadable, samples.NAME, None, as_json=False)


# ---- what goes wrong -----------------------------------------------------------------------------

ASK: dict[str, Callable[[Settings, str], None]] = {
    "explain": lambda settings, name: reading.explain(settings, name, as_json=False),
    "review": lambda settings, name: reading.review(settings, name, None, as_json=False),
    "watch": lambda settings, name: reading.watch(settings, name, once=True, as_json=False),
}


@pytest.mark.parametrize("command", ASK)
def test_an_unknown_experiment_is_answered_with_the_known_ones(slowed: Settings, command: str) -> None:
    with pytest.raises(UnknownExperiment, match="no experiment 'nope' is recorded; known are checkout"):
        ASK[command](slowed, "nope")


@pytest.mark.parametrize("command", ASK)
def test_a_database_without_tables_is_answered_with_how_to_fill_it(
    clickhouse: EmbeddedClickHouse, command: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing is recorded .* 'never_made' yet; start a recorder"):
        ASK[command](_settings(clickhouse, "never_made"), "checkout")


@pytest.mark.parametrize("command", ASK)
def test_without_an_address_of_clickhouse_the_setting_is_named(command: str) -> None:
    with pytest.raises(ConfigurationError, match="STOPLOSS_CLICKHOUSE_URL"):
        ASK[command](Settings(clickhouse_url=None), "checkout")


# ---- status --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registered(kafka: EmbeddedKafka) -> Settings:
    """Topics of their own, and in the registry what the judge wrote of a rolled back experiment."""
    settings = Settings(kafka=kafka.bootstrap, topic_prefix="reading.", ledger_partitions=2, source_partitions=1)
    Admin(kafka.bootstrap).create(settings)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for output in stories.slowed().outputs:
        if isinstance(output, RegistryOutput):
            key = registry.decode(output.value).experiment.encode()
            producer.produce(settings.topics("registry"), output.value, key=key, partition=1)
    producer.flush(30)
    return settings


@pytest.mark.kafka
def test_status_needs_kafka_alone(registered: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert registered.clickhouse_url is None
    reading.status(registered, as_json=True)
    (shown,) = json_of(capsys)
    assert (shown["experiment"], shown["lifecycle"], shown["run"], shown["exposure"]) == (
        "checkout",
        "rolled_back",
        1,
        0,
    )
    assert shown["not_enforced"] == ["approvals (without a policy in force)"]


@pytest.mark.kafka
def test_status_is_a_table_for_people(registered: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    reading.status(registered, as_json=False)
    shown = capsys.readouterr().out
    for part in ("checkout", "rolled_back", "1/2", "0 %", "UTC", "approvals"):
        assert part in shown
    assert "\x1b" not in shown


@pytest.mark.kafka
def test_status_of_one_experiment_is_asked_for_by_its_name(
    registered: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    reading.status(registered, as_json=True, experiment="checkout")
    assert [shown["experiment"] for shown in json_of(capsys)] == ["checkout"]
    with pytest.raises(UnknownExperiment, match="known are checkout"):
        reading.status(registered, as_json=False, experiment="basket")


@pytest.mark.kafka
def test_status_before_the_topics_exist_says_how_to_make_them(kafka: EmbeddedKafka) -> None:
    with pytest.raises(ConfigurationError, match=r"topic not-there\.registry cannot be read.*stoploss topics"):
        reading.status(Settings(kafka=kafka.bootstrap, topic_prefix="not-there."), as_json=False)


def test_without_an_address_of_kafka_the_setting_is_named() -> None:
    with pytest.raises(ConfigurationError, match="STOPLOSS_KAFKA"):
        reading.status(Settings(kafka=None), as_json=False)


def test_status_without_a_broker_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "BROKER_TIMEOUT_S", 0.3)
    with pytest.raises(ConfigurationError, match=r"Kafka at 127\.0\.0\.1:9 cannot be read .*correct STOPLOSS_KAFKA"):
        reading.status(Settings(kafka="127.0.0.1:9"), as_json=False)
    assert capfd.readouterr() == ("", "")

"""emit and simulate: recorded requests as they are, and traffic whose harm is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoploss.canary import PREFIX
from stoploss.cli.recorded import recorded
from stoploss.errors import ConfigurationError
from stoploss.journal import EpochOpened
from stoploss.lifecycle import Lifecycle
from stoploss.simulate.harm import HARMS
from stoploss.wire.json_records import read_json
from tests.cli.conftest import Program
from tests.installation import Installation, journal_of, registry_of, values

SPEC = Path(__file__).parents[2] / "examples" / "demo" / "support-agent-prompt.yaml"
HEAD = "trace_id,at,latency_ms,output_text,pii_exposed,scores,experiment,variant"


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


# ---- files ---------------------------------------------------------------------------------------


def test_a_csv_and_a_jsonl_of_the_same_requests_are_the_same_traces(tmp_path: Path) -> None:
    columns = written(
        tmp_path / "requests.csv",
        HEAD,
        '1,2026-01-31T12:00:00Z,812.5,"yes, ""please""",true,"{""helpfulness"": 0.7}",checkout,small',
        "2,1769860800000000,,,,,checkout,current",
    )
    objects = [
        {
            "trace_id": "1",
            "at": "2026-01-31T12:00:00Z",
            "latency_ms": 812.5,
            "output_text": 'yes, "please"',
            "pii_exposed": True,
            "scores": {"helpfulness": 0.7},
            "assignments": [{"experiment": "checkout", "variant": "small"}],
        },
        {
            "trace_id": "2",
            "at": 1769860800000000,
            "assignments": [{"experiment": "checkout", "variant": "current"}],
        },
    ]
    lines = written(tmp_path / "requests.jsonl", *map(json.dumps, objects))
    from_csv, from_jsonl = ([read_json(value, "trace") for value in recorded(file)] for file in (columns, lines))
    assert from_csv == from_jsonl
    assert from_csv[0]["at"] == from_csv[1]["at"]


@pytest.mark.parametrize(
    ("name", "lines", "why"),
    [
        ("a.jsonl", ["{}", "", "[1]"], "a.jsonl line 3 is no JSON object"),
        ("a.jsonl", ['{"trace_id": '], "a.jsonl line 1 is no JSON object"),
        (
            "a.csv",
            ["trace_id,at,latency", "1,2,3"],
            "a.csv has columns that no trace has: 'latency'; there are trace_id",
        ),
        ("a.csv", ["trace_id,latency_ms", "1,2"], "a.csv has no column at"),
        ("a.csv", ["trace_id,at", "1,2", "1"], "a.csv line 3 has not as many cells as the first line has names"),
        ("a.csv", ["trace_id,at", "1,2,3"], "a.csv line 2 has not as many cells as the first line has names"),
        ("a.csv", ["trace_id,at,pii_exposed", "1,2,ja"], "a.csv line 2, pii_exposed: 'ja' is no value that JSON knows"),
        ("a.csv", [], "a.csv has no column trace_id and at"),
    ],
)
def test_a_file_that_is_wrong_is_refused_at_its_line(tmp_path: Path, name: str, lines: list[str], why: str) -> None:
    file = written(tmp_path / name, *lines)
    with pytest.raises(ConfigurationError) as refused:
        list(recorded(file))
    assert str(refused.value).startswith(str(tmp_path / why))


def test_nothing_is_sent_of_a_file_with_one_wrong_line(
    live: Program, installation: Installation, tmp_path: Path
) -> None:
    before = of_services(installation)
    ended = live("emit", written(tmp_path / "traces.jsonl", '{"trace_id": "1", "at": 2}', "nonsense"))
    assert ended.code == 1
    assert "line 2 is no JSON object" in ended.sentence
    assert of_services(installation) == before


def of_services(installation: Installation) -> list[bytes]:
    """What stands in the topic of traces without the monitor's own canaries."""
    return [value for value in values(installation.settings, "traces") if PREFIX.encode() not in value]


@pytest.mark.parametrize(("name", "why"), [("absent.jsonl", "No such file or directory"), (".", "is no file")])
def test_a_file_that_is_none_is_one_sentence(live: Program, name: str, why: str) -> None:
    ended = live("emit", name)
    assert ended.code == 1
    assert why in ended.sentence


def test_recorded_requests_arrive_as_they_are(live: Program, installation: Installation, tmp_path: Path) -> None:
    trace = '{"trace_id": "recorded-1", "at": 1769860800000000}'
    ended = live("emit", written(tmp_path / "traces.jsonl", trace))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("1 traces sent; ")
    assert trace.encode() in values(installation.settings, "traces")


# ---- simulation ----------------------------------------------------------------------------------


def test_the_harms_are_listed_without_an_experiment(stoploss: Program) -> None:
    ended = stoploss("simulate", "--harms")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == list(HARMS)


def test_an_unknown_harm_is_answered_with_the_known_ones(live: Program) -> None:
    ended = live("simulate", "anything", "--harm", "mischief")
    assert ended.code == 1
    assert "'mischief'" in ended.sentence
    assert "slow-regression" in ended.sentence


def test_an_experiment_that_nobody_registered_is_not_simulated(live: Program) -> None:
    ended = live("simulate", "never-registered")
    assert ended.code == 1
    assert "experiment 'never-registered' is not registered" in ended.sentence


def test_simulated_harm_ends_the_experiment_and_an_ended_one_is_not_simulated(
    live: Program, installation: Installation, tmp_path: Path
) -> None:
    name = "simulated-harm"
    live("register", written(tmp_path / "spec.yaml", SPEC.read_text().replace("support-agent-prompt", name)))
    unstarted = live("simulate", name)
    assert "is registered, so nobody gets its treatment; `stoploss start simulated-harm` first" in unstarted.sentence
    live("start", name)
    wait_for_epoch(installation, name)
    ended = live("simulate", name, "--harm", "gate", "--traces", "600", "--rate", "400", "--after", "0")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("600 traces sent; simulated-harm is now ")
    installation.wait(lambda: lifecycle(installation, name) == Lifecycle.ROLLED_BACK)
    again = live("simulate", name)
    assert again.code == 1
    assert "is rolled back, so nobody gets its treatment; `stoploss resume simulated-harm` first" in again.sentence


def lifecycle(installation: Installation, name: str) -> str | None:
    entry = registry_of(installation.settings, name)
    return entry.lifecycle if entry else None


def wait_for_epoch(installation: Installation, name: str) -> None:
    """The controller has answered, so that requests are judged."""
    settings = installation.settings
    installation.wait(lambda: any(isinstance(entry.conclusion, EpochOpened) for entry in journal_of(settings, name)))

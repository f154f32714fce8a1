"""The first minutes: files to begin with, what is set and by whom, and the versions that a report should name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from dotenv import dotenv_values

from stoploss import __version__
from stoploss.otlp.prices import PriceTable
from stoploss.settings import Settings
from stoploss.settings_reference import every_setting
from stoploss.spec.file import parse_experiment
from tests.cli.conftest import Program

FILES = ["experiment.yaml", "prices.yaml", ".env"]


# ---- init ------------------------------------------------------------------------------------------


def test_init_writes_an_experiment_prices_and_settings_that_are_good_as_they_stand(stoploss: Program) -> None:
    ended = stoploss("init")
    assert ended.code == 0
    assert all(name in ended.out for name in FILES)
    assert parse_experiment(Path("experiment.yaml").read_text()).control.name == "current"
    assert PriceTable.load(Path("prices.yaml")).price("gpt-4o-mini", 1_800_000_000 * 10**9) is not None
    assert dotenv_values(".env") == {"STOPLOSS_PRICES": "prices.yaml"}
    assert stoploss("check", "experiment.yaml").code == 0
    assert stoploss("settings").code == 0


@pytest.mark.parametrize("name", FILES)
def test_init_writes_over_nothing_and_then_writes_nothing(stoploss: Program, name: str) -> None:
    Path(name).write_text("# mine\n")
    ended = stoploss("init")
    assert ended.code == 1
    assert ended.sentence.startswith(f"stoploss: {name}: already here")
    assert [path.name for path in Path().iterdir()] == [name]
    assert Path(name).read_text() == "# mine\n"


def test_the_file_of_settings_names_every_setting_with_its_default(stoploss: Program) -> None:
    stoploss("init")
    lines = Path(".env").read_text().splitlines()
    for one in every_setting():
        assert f"# {one.variable}={one.default}" in lines or one.name == "prices"


# ---- settings --------------------------------------------------------------------------------------


def told(stoploss: Program, *arguments: str) -> dict[str, tuple[str, str]]:
    """Setting -> (value, from whom)."""
    ended = stoploss(*arguments, "settings", "--json")
    assert ended.code == 0, ended.err
    return {row["setting"]: (row["value"], row["from"]) for row in json.loads(ended.out)["settings"]}


def test_a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default(stoploss: Program) -> None:
    name, by = "STOPLOSS_REPLICATION", "flag or environment"
    assert told(stoploss)[name] == ("1", "default")
    Path(".env").write_text(f"{name}=2\nOTHER_PROGRAM=x\n")
    assert told(stoploss)[name] == ("2", ".env")
    Path("mine.env").write_text(f"{name}=3\n")
    assert told(stoploss, "--settings", "mine.env")[name] == ("3", "mine.env")
    stoploss.set(replication=4)
    assert told(stoploss, "--settings", "mine.env")[name] == ("4", by)
    assert told(stoploss, "--set", "replication=5", "--settings", "mine.env")[name] == ("5", by)


def test_a_flag_is_for_one_command(stoploss: Program) -> None:
    before = dict(os.environ)
    told(stoploss, "--set", "STOPLOSS_REPLICATION=5")
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "replicaton=5"], "--set: no setting is named 'replicaton'; did you mean replication?"),
        (["--set", "replication"], "--set replication: say NAME=VALUE"),
        (["--set", "replication=99"], "STOPLOSS_REPLICATION: Input should be less than or equal to 7 (given: '99')"),
        (["--settings", "none.env"], "there is no file of settings none.env; correct --settings or STOPLOSS_SETTINGS"),
        (["--settings", "wrong.env"], "wrong.env: no setting is named 'kafak'; did you mean kafka?"),
    ],
)
def test_what_no_setting_understands_is_refused_with_the_way_out(
    stoploss: Program, arguments: list[str], said: str
) -> None:
    Path("wrong.env").write_text("STOPLOSS_KAFAK=broker:9092\n")
    ended = stoploss(*arguments, "settings")
    assert ended.code == 1
    assert said in ended.sentence


def test_settings_show_no_secret_and_name_what_nobody_reads(stoploss: Program) -> None:
    stoploss.set(kafka_password="hunter2", clickhouse_url="http://ada:lovelace@host:8123", kafak="broker:9092")
    ended = stoploss("settings")
    assert "(hidden)" in ended.out
    assert "http://host:8123" in ended.out
    assert not {"hunter2", "lovelace"} & set(ended.out.replace("@", " ").replace(":", " ").split())
    assert "STOPLOSS_KAFAK is in the environment, and no setting is named so" in ended.out


def test_every_setting_has_its_meaning_and_no_meaning_is_of_none() -> None:
    assert [one.name for one in every_setting()] == list(Settings.model_fields)
    assert [one.name for one in every_setting() if len(one.meaning) < 10] == []


def test_the_document_has_the_settings_of_the_code() -> None:
    """Anew: python -m stoploss.settings_reference"""
    from stoploss.settings_reference import markdown

    assert markdown() in (Path(__file__).parents[2] / "docs" / "settings.md").read_text()


# ---- versions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--version", "--json"], ["--json", "--version"]])
def test_the_version_as_json_names_what_a_report_should(stoploss: Program, arguments: list[str]) -> None:
    shown = json.loads(stoploss(*arguments).out)
    assert shown["stoploss"] == __version__
    assert shown["python"].startswith("3.11.")
    assert all(shown["packages"].values())
    assert "embedded" in shown["extras"]


def test_json_without_the_version_or_a_command_is_a_wrong_command_line(stoploss: Program) -> None:
    assert stoploss("--json", "list").code == 2
    assert stoploss("--set", "replication=1").code == 2

"""X7, G6, V3, V1: from a leak to its post-mortem, its pack, its cases and their offline result, as people do it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stoploss.cli.cases import tell_undecided, undecided
from stoploss.lifecycle import Lifecycle
from stoploss.store.client import connect
from tests.cli.conftest import Program
from tests.cli.test_sending import lifecycle, wait_for_epoch, written
from tests.cli.test_verifying import is_recorded
from tests.installation import Installation

NAME = "after-harm"
CARD = "4111 1111 1111 1111"
SPEC = f"""
apiVersion: stoploss/v1alpha1
kind: Experiment
metadata: {{name: {NAME}, owner: search-team, annotations: {{containment-target: 1h}}}}
spec:
  hypothesis: The smaller model is as good.
  unit: model
  success: {{metric: resolved}}
  assignment: {{flag: {NAME}, randomisationUnit: user, control: current, controllers: [flagd]}}
  variants: [{{name: current}}, {{name: small}}]
  rollback: {{to: current}}
  ramp: {{stages: [0.5]}}
"""


def trace(number: int, variant: str, text: str | None, output: str) -> str:
    assigned = [{"experiment": NAME, "variant": variant}]
    asked: dict[str, Any] = {} if text is None else {"input_text": text}
    more = {"unit_id": f"user-{number}", "model": "small-1", "output_text": output, "assignments": assigned}
    now = datetime.now(UTC).isoformat()
    return json.dumps({"trace_id": f"{NAME}-{number}", "at": now, **asked, **more})


def sent() -> list[str]:
    """Three of nine leak: two of them asked the same, one of them nothing that is known."""
    return [
        *(trace(number, "current", "hello", "good day") for number in range(5)),
        trace(5, "small", "my card? ann@example.org", f"it is {CARD}"),
        trace(6, "small", "my  card?\nann@example.org", f"it is {CARD}, as ever"),
        trace(7, "small", None, f"unasked: {CARD}"),
        trace(8, "small", "hello", "good day"),
    ]


@pytest.fixture(scope="module")
def command_id(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the stop that answers the leak; everything about it is stored."""
    from stoploss.cli import asking, sending

    directory, settings = tmp_path_factory.mktemp("after-harm"), installation.settings
    asking.send(settings, asking.request_of("register", NAME, "", spec=SPEC))
    asking.send(settings, asking.request_of("start", NAME, ""))
    wait_for_epoch(installation, NAME)
    sending.emit(settings, written(directory / "traces.jsonl", *sent()))
    installation.wait(lambda: lifecycle(installation, NAME) == Lifecycle.STOPPED)
    installation.wait(lambda: counted(installation) and is_recorded(settings, NAME))
    stops = "SELECT command_id FROM commands_v WHERE experiment = {name:String} AND action = 'stop'"
    ((found,),) = set(client_of(installation).query(stops, parameters={"name": NAME}).result_rows)
    return str(found)


def client_of(installation: Installation) -> Any:
    settings = installation.settings
    return connect(settings.need_clickhouse(), database=settings.clickhouse_database)


def counted(installation: Installation) -> bool:
    """All traces are stored, and what was in flight at the stop is said."""
    rows = """
        SELECT (SELECT count() FROM traces_v WHERE arrayExists(a -> a.experiment = {name:String}, assignments)),
            (SELECT count() FROM journal_v WHERE experiment = {name:String} AND kind = 'exposures_counted')
        """
    ((traces, counts),) = client_of(installation).query(rows, parameters={"name": NAME}).result_rows
    return bool(traces == len(sent()) and counts)


def stored(live: Program, installation: Installation, *arguments: str) -> None:
    """A command that puts something on record, once that is stored."""
    ended = live(*arguments)
    assert ended.code == 0, ended.err
    installation.wait(lambda: is_recorded(installation.settings, NAME))


def test_an_incident_is_opened_shown_and_closed_once_its_remedies_are_done(
    live: Program, installation: Installation, command_id: str
) -> None:
    """G6"""
    short = command_id[:12]
    stored(live, installation, "postmortem", short, "--open", "a card was shown", "--factor", "no test for it")
    remedy = ("--remedy", "mask", "--what", "mask cards", "--owner", "ann", "--due", "2026-12-01")
    stored(live, installation, "postmortem", short, *remedy)
    statuses = {one["experiment"]: one for one in json.loads(live("status", "--json").out)}
    assert statuses[NAME]["open_incidents"] == [command_id]
    early = live("postmortem", short, "--close", "done with")
    assert early.code == 1
    assert "remedies are not done: mask" in early.sentence
    done = ("--done", "mask", "--how", "deployed", "--close", "masked since 7.2")
    stored(live, installation, "postmortem", short, *done)
    page = live("postmortem", short).out
    assert "closed, opened by" in page
    assert "within the target of 3,600.00 s" in page
    assert "| mask | mask cards | ann | 2026-12-01 | done " in page
    statuses = {one["experiment"]: one for one in json.loads(live("status", "--json").out)}
    assert statuses[NAME]["open_incidents"] == []


def test_harm_becomes_cases_that_are_promoted_and_their_results_stand_in_the_review(
    live: Program, installation: Installation, command_id: str, tmp_path: Path
) -> None:
    """X7: masked, each input once; what has no input is told."""
    ended = live("cases", NAME, "--format", "jsonl")
    (case,) = [json.loads(line) for line in ended.out.splitlines()]
    assert " ".join(case["input"].split()) == "my card? [email]"
    assert case["seen"] == 2
    assert {link["trace_id"] for link in case["links"]} == {f"{NAME}-5", f"{NAME}-6"}
    assert case["links"][0]["command_id"] == command_id
    assert CARD not in ended.out
    assert "1 rows skipped: the trace has no input text: the service sends none" in ended.err
    assert json.loads(live("cases", command_id, "--json").out)["cases"][0]["case_id"] == case["case_id"]

    before = json.loads(live("review", NAME, "--json").out)["offline"]
    assert before["undecided"] == [command_id]
    done = live("complete", NAME, "--decision", "rollback", "--reason", "it leaks", "--lesson", "mask first", "--json")
    assert json.loads(done.out)["undecided_harm"] == [command_id]
    results = written(tmp_path / "r.jsonl", json.dumps({"case_id": case["case_id"], "passed": False}))
    on_set = ("--set", "leaks", "--version", "3")
    taken = ("cases", NAME, "--results", str(results), *on_set, "--subject", "small-2")
    assert "was promoted to leaks 3; promoted to: none" in live(*taken).sentence
    stored(live, installation, "cases", NAME, "--promote", *on_set)
    stored(live, installation, *taken)
    after = json.loads(live("review", NAME, "--json").out)["offline"]
    assert after["undecided"] == []
    assert undecided(NAME) == ()
    (promoted,) = after["promoted"]
    assert (promoted["evaluation_set"], promoted["cases"]) == ("leaks", [case["case_id"]])
    assert (promoted["results"][0]["subject"], promoted["results"][0]["failed"]) == ("small-2", [case["case_id"]])
    assert "  - small-2: 0 passed, 1 failed" in live("review", NAME).out
    live.set(clickhouse_url="http://127.0.0.1:1")
    assert undecided(NAME) is None


def test_a_pack_of_the_running_installation_replays_and_verifies_with_what_was_put_on_record(
    live: Program, installation: Installation, command_id: str, tmp_path: Path
) -> None:
    """V3"""
    folder = tmp_path / "pack"
    assert live("incident", command_id[:12], "-o", folder).code == 0
    key = installation.settings.keys / "monitor.pub"
    elsewhere = live.set(kafka="127.0.0.1:1", clickhouse_url="http://127.0.0.1:1", home="nowhere")
    assert "identical byte for byte" in elsewhere("replay", folder).out
    assert elsewhere("verify", folder, "--key", key).code == 0
    assert CARD not in "".join(path.read_text() for path in folder.glob("*.jsonl"))


def test_who_completes_an_experiment_is_told_how_to_decide_on_its_harm(capsys: pytest.CaptureFixture[str]) -> None:
    """X7"""
    tell_undecided(("ab" * 32,))
    assert capsys.readouterr().out == (
        "nobody has decided whether its harm becomes regression cases: "
        "`stoploss cases abababababab --promote --set SET --version VERSION`, or --decline WHY\n"
    )


def test_one_thing_is_asked_of_cases_at_a_time(live: Program) -> None:
    for arguments in (["--promote"], ["--promote", "--decline", "why"], ["--results", "r.json", "--set", "s"]):
        assert live("cases", NAME, *arguments).code == 2

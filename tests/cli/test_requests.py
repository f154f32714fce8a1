"""start, pause, resume, rollback, stop: the judge's last word comes back, and a refusal says what is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoploss.cli import asking
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.lifecycle import Lifecycle
from streams.admin import Admin
from tests.cli.conftest import Program
from tests.installation import Installation, registry_of, settings_of

SPEC = Path(__file__).parents[2] / "examples" / "demo" / "answer-style-aa.yaml"


def registered(live: Program, tmp_path: Path, name: str) -> str:
    spec = tmp_path / f"{name}.yaml"
    spec.write_text(SPEC.read_text().replace("answer-style-aa", name))
    assert live("register", spec).code == 0
    return name


def test_an_experiment_goes_through_its_life_on_request(
    live: Program, installation: Installation, tmp_path: Path
) -> None:
    name = registered(live, tmp_path, "through-its-life")
    story = [
        (["start", name], "is started", Lifecycle.RUNNING, 0.5),
        (["pause", name, "-m", "lunch"], "is paused", Lifecycle.PAUSED, 0.0),
        (["resume", name, "--exposure", "0.1"], "is running again, in a new run", Lifecycle.RUNNING, 0.1),
        (["rollback", name], "is rolled back", Lifecycle.ROLLED_BACK, 0.0),
        (["resume", name], "is running again", Lifecycle.RUNNING, 0.5),
        (["stop", name], "is stopped", Lifecycle.STOPPED, 0.0),
    ]
    for arguments, sentence, lifecycle, exposure in story:
        ended = live(*arguments)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith(f"{name} {sentence}")
        entry = registry_of(installation.settings, name)
        assert entry is not None
        assert (entry.lifecycle, entry.exposure) == (lifecycle, exposure)


def test_what_is_not_allowed_now_is_refused_with_what_is(live: Program, tmp_path: Path) -> None:
    name = registered(live, tmp_path, "not-allowed-now")
    ended = live("resume", name)
    assert ended.code == 1
    assert ended.sentence == (
        f"stoploss: resume of {name!r} is refused: resume is not allowed while the experiment is registered; "
        "allowed now: amend, approve, note, register, rehearse, reject, start"
    )


def test_as_json_the_answer_has_the_reason_that_was_given(live: Program, tmp_path: Path) -> None:
    name = registered(live, tmp_path, "with-a-reason")
    answer = json.loads(live("start", name, "--reason", "the board said so", "--json").out)
    assert answer.pop("request_id")
    assert answer == {"experiment": name, "action": "start", "accepted": True, "reason": "the board said so"}


def test_an_unknown_experiment_is_answered_with_the_registered_ones(live: Program, tmp_path: Path) -> None:
    name = registered(live, tmp_path, "the-known-one")
    ended = live("start", "the-unknown-one")
    assert ended.code == 1
    assert "experiment 'the-unknown-one' is not registered; registered: " in ended.sentence
    assert name in ended.sentence


def test_without_a_judge_the_request_is_said_to_stay(
    stoploss: Program, kafka: EmbeddedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(kafka, tmp_path)
    Admin(settings.need_kafka()).create(settings)
    monkeypatch.setattr(asking, "ANSWER_TIMEOUT_S", 0.5)
    ended = stoploss.of(settings)("register", SPEC)
    assert ended.code == 1
    assert "the request is sent and stays; are registrar and judge running?" in ended.sentence


def test_without_topics_the_command_that_creates_them_is_named(
    stoploss: Program, kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    ended = stoploss.of(settings_of(kafka, tmp_path))("start", "anything")
    assert ended.code == 1
    assert "`stoploss topics`" in ended.sentence or "stoploss topics" in ended.sentence


def test_a_share_beyond_the_whole_traffic_is_a_wrong_command_line(stoploss: Program) -> None:
    assert stoploss("start", "anything", "--exposure", "1.5").code == 2

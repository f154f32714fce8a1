"""stoploss adapter: what would be sent, without secret, Kafka or vendor; and a controller's dry run."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoploss.control.adapter.parsing import recipes
from tests.cli.conftest import Program


def test_the_recipes_are_listed_with_what_they_do(stoploss: Program) -> None:
    ended = stoploss("adapter", "list")
    assert [line.split()[0] for line in ended.out.splitlines()] == list(recipes())
    assert "LaunchDarkly: the default rule of a flag" in ended.out


@pytest.mark.parametrize("recipe", list(recipes()))
def test_a_recipe_is_tried_without_its_secrets(stoploss: Program, recipe: str) -> None:
    ended = stoploss("adapter", "try", recipe)
    assert ended.code == 0
    assert ended.out.startswith(("POST https://", "PUT https://", "PATCH https://"))
    assert "<" in ended.out


def test_a_recipe_that_is_shown_is_the_beginning_of_a_file_of_ones_own(stoploss: Program, tmp_path: Path) -> None:
    own = tmp_path / "ours.yaml"
    own.write_text(stoploss("adapter", "show", "launchdarkly").out.replace("project: default", "project: search"))
    ended = stoploss("adapter", "try", own, "--action", "set_exposure", "--exposure", "0.25")
    assert "/api/v2/flags/search/checkout-model" in ended.out
    assert '"e5830889-1ec5-4b0c-9cc9-c48790090c43": 25000' in ended.out


def test_the_sample_may_release_the_treatment_or_stop_a_segment(stoploss: Program) -> None:
    released = stoploss("adapter", "try", "growthbook", "--action", "set_exposure", "--released")
    assert '"coverage": 1' in released.out
    stopped = stoploss("adapter", "try", "webhook", "--action", "stop_segment", "--segment", "tenant=acme")
    assert '"value": "acme"' in stopped.out
    assert "webhook-signature: v1,<made with signing>" in stopped.out
    assert stoploss("adapter", "try", "webhook", "--segment", "acme").sentence.endswith("such as tenant=acme")


def test_what_a_recipe_cannot_say_is_one_sentence(stoploss: Program) -> None:
    ended = stoploss("adapter", "try", "launchdarkly", "--flag", "other")
    assert ended.code == 1
    assert "there is nothing for flag 'other'" in ended.sentence


def test_a_wrong_file_names_line_and_field(stoploss: Program, tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(recipes()["webhook"].read_text().replace("${flag}", "${flga}"))
    ended = stoploss("adapter", "try", tmp_path / "ours.yaml")
    assert ended.code == 1
    assert "line 19, requests[0].body.flag: ${flga} names 'flga'" in ended.sentence


@pytest.mark.parametrize("options", [(), ("--file", "flags.json", "--adapter", "webhook")])
def test_a_controller_does_one_of_two_things(stoploss: Program, options: tuple[str, ...]) -> None:
    assert stoploss("controller", *options).sentence.endswith("give one of --file and --adapter")

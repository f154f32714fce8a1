"""A spec without windows and without a ramp that goes on by itself: otherwise the same."""

from __future__ import annotations

import pytest

from stoploss.resources import data_path
from stoploss.spec.file import parse_experiment
from stoploss.spec.unpaced import unpaced
from tests.timelines import EVERY_RULE, SPEC, spec

WINDOWS = 'windows: [{days: Mon, from: "09:00", to: "17:00"}]'
FREEZES = "freezes: [{from: 2026-12-20, to: 2027-01-03, reason: nobody is there}]"


def test_a_spec_without_pace_is_left_as_it_is() -> None:
    assert unpaced(spec(EVERY_RULE)) == spec(EVERY_RULE)


@pytest.mark.parametrize("more", [WINDOWS, f"{WINDOWS}\nsafeShare: 0.0", FREEZES])
def test_windows_freezes_and_the_safe_share_are_left_out(more: str) -> None:
    """Of every rule, so that nothing of it is lost on the way."""
    found = parse_experiment(unpaced(spec(f"{EVERY_RULE}\n{more}")))
    assert found.spec_hash == parse_experiment(spec(EVERY_RULE)).spec_hash


def test_a_ramp_keeps_its_stages() -> None:
    paced = SPEC.replace("{stages: [0.5]}", "{stages: [0.1, 0.5], autoAdvance: true, then: revert, watch: 1d}")
    assert parse_experiment(unpaced(paced)).spec.ramp == parse_experiment(SPEC.replace("0.5]", "0.1, 0.5]")).spec.ramp


def test_the_example_with_every_field_loses_nothing_else() -> None:
    whole = parse_experiment(data_path("examples", "checkout-agent-model.yaml").read_text())
    found = parse_experiment(unpaced(data_path("examples", "checkout-agent-model.yaml").read_text()))
    pace = {"windows": (), "ramp": whole.spec.ramp.model_copy(update={"auto_advance": False})}
    assert found.spec.model_dump() == whole.spec.model_copy(update=pace).model_dump()
